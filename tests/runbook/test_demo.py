"""The demo has an example for every query of the runbook: right after it was built, and days later."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db.models import F

from audit.models import AuditLog
from core import clock
from drift.models import ACTIVE, DriftIncident
from impersonation import services as support
from impersonation.models import ImpersonationSession
from opsconsole import tasks
from opsconsole.demo import builder
from promotions.models import Promotion
from sandbox.testing import SandboxServer
from tenants.models import PlatformAdmin, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.runbook.answers import EMPTY_IS_WELL, MUST_BE_EMPTY
from tests.runbook.estate import BLOCKS
from workflows.models import Environment, Execution

#: Blocks whose questions are for the database alone.
ASKED = (3, 5, 7, 8, 9, 11, 17, 22, 23, 24, 25, 28, 31, 33, 42, 43, 47, 48, 50, 54, 55, 56)
QUESTION = re.compile(r"psql \$DATABASE_URL << EOF\n(.*?)\nEOF", re.S)
A_MONTH = timedelta(days=30)


@pytest.fixture
def demo(transactional_db: None, settings: Any, tmp_path: Any) -> Iterator[None]:
    settings.MODE, settings.GIT_ROOT = "demo", tmp_path / "git"
    with SandboxServer() as sandbox:
        settings.SANDBOX_URL, settings.SANDBOX_CONTROL_TOKEN = sandbox.url, sandbox.token
        builder.build(people_are_there=lambda: None)
        yield


def examples() -> dict[str, str]:
    """What a person who reads the runbook over the demo would put in the places of its questions."""
    with platform_scope():
        tenant = Tenant.objects.get(slug="larkfield")
        admin = PlatformAdmin.objects.values_list("user_id", flat=True).get()
        past = ImpersonationSession.objects.exclude(ended_at=None).earliest("started_at")
    with tenant_scope(tenant.pk):
        production = Environment.objects.get(slug="production")
        failed = Promotion.objects.get(status="FAILED")
        incident = DriftIncident.objects.filter(incident_state__in=ACTIVE).latest("created_at")
    places = {
        **dict.fromkeys(("target-environment-id", "restored-environment-id"), production.pk),
        **dict.fromkeys(("suspicious-actor-id", "actor-user-id"), past.actor_user_id),
        "failed-promotion-id": failed.pk,
        "incident-id": incident.pk,
        "impersonated-user-id": past.impersonated_user_id,
        "attempted-target-user-id": admin,
        "session-start-time": past.started_at - A_MONTH,
        "session-start": past.started_at - A_MONTH,
        "session-end": clock.now(),
    }
    return {name: str(value) for name, value in places.items()}


def unanswered() -> list[str]:
    """Questions of the runbook to which the demo has no example, or one where there must be none."""
    found, places = [], examples()
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        for number in ASKED:
            block = BLOCKS[number]
            for name, value in places.items():
                block = block.replace(f"'{name}'", f"'{value}'")
            questions = [q for text in QUESTION.findall(block) for q in text.split(";") if "SELECT" in q]
            for place, question in enumerate(questions):
                rows = operator.execute(question).fetchall()
                if bool(rows) == (place in MUST_BE_EMPTY.get(number, {})) and place not in EMPTY_IS_WELL.get(
                    number, {}
                ):
                    found.append(f"{number}: {question}")
    return found


def let_pass(days: int) -> None:
    """As if the demo had been built that long ago, and its sessions had ended by themselves."""

    def older(model: Any, *names: str) -> None:
        model.objects.update(**{name: F(name) - timedelta(days=days) for name in names})

    with platform_scope():
        tenants = list(Tenant.objects.all())
    for tenant in tenants:
        with tenant_scope(tenant.pk):
            older(Promotion, "created_at", "updated_at")
            older(DriftIncident, "created_at", "updated_at", "ttl_expires_at")
            older(Execution, "started_at", "ended_at", "sorted_at")
    with platform_scope():
        older(ImpersonationSession, "started_at", "last_seen_at", "expires_at")
    support.end_overdue()


def refused() -> int:
    with platform_scope():
        return AuditLog.objects.filter(action="IMPERSONATION_BLOCKED").count()


def running() -> list[ImpersonationSession]:
    with platform_scope():
        return list(ImpersonationSession.objects.filter(ended_at=None))


def test_every_question_has_an_example_at_any_hour(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unanswered() == [] and refused() == 1
    overdue = "SELECT count(*) FROM drift_incidents WHERE ttl_expires_at < now() AND incident_state = 'OPEN'"
    acknowledged = "SELECT count(*) FROM drift_incidents WHERE incident_state = 'ACKNOWLEDGED'"
    stale = f"{acknowledged} AND updated_at < now() - interval '1 hour'"
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        assert operator.execute(overdue).fetchone() == (1,) and operator.execute(stale).fetchone() == (1,)
    let_pass(days=1)
    assert any(text.startswith(("22:", "47:")) for text in unanswered()), "time has passed"
    tasks.keep_demo_fresh()
    assert unanswered() == []
    (session,) = running()
    tasks.keep_demo_fresh()
    assert [one.pk for one in running()] == [session.pk], "it goes on"
    with platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(expires_at=clock.now() + timedelta(minutes=1))
    tasks.keep_demo_fresh()
    (follower,) = running()
    assert follower.pk != session.pk, "the next one has begun before the last would have run out"
    support.end_session(session_id=follower.pk, by=follower.actor_user, reason="a visitor ends it")
    tasks.keep_demo_fresh()
    assert running() == [], "what a visitor has ended stays ended for a while"
    assert refused() == 1
    tomorrow = clock.now() + timedelta(days=1)
    monkeypatch.setattr("core.clock.now", lambda: tomorrow)
    tasks.keep_demo_fresh()
    assert refused() == 2 and len(running()) == 1, "a day later it is tried again"


def test_nothing_is_moved_where_there_is_no_demo(settings: Any, db: None) -> None:
    settings.MODE = "demo"
    tasks.keep_demo_fresh()
    with platform_scope():
        assert not ImpersonationSession.objects.exists()
