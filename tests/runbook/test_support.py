"""The runbook's own commands about support sessions and platform admins, as they are written."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from core import context
from snapshots.models import Snapshot
from tenants import people
from tenants.models import User
from tenants.scope import platform_scope, tenant_scope
from tests.runbook.estate import Estate, Shell, wait_for_jobs
from tests.runbook.support import SupportSession

pytestmark = [pytest.mark.console, pytest.mark.xdist_group("runbook")]


def test_support_sessions_are_watched_and_ended(estate: Estate, shell: Shell) -> None:
    """Started, looked at, ended by force; then all at once."""
    first = SupportSession(estate)
    first.write()
    ids = {
        "suspicious_actor_id": str(estate.cast.support.pk),
        "impersonated_user_id": str(estate.cast.operator.pk),
        "suspicious_session_id": first.ident,
        "session_start_time": "2026-01-01",
        "session_start": "2026-01-01",
        "session_end": "2999-01-01",
        "actor_user_id": str(estate.cast.support.pk),
    }
    assert first.ident in shell.run(47)
    said = shell.run(48, **ids)
    assert "READ" in said and '"description": "runbook"' in said
    assert first.get().status_code == 200
    said = shell.run(49, **ids)
    assert '"ended_at"' in said and "(1 row)" in said
    assert first.get().status_code == 404
    assert "requests" in shell.run(50, **ids)
    second = SupportSession(estate)
    assert second.get().status_code == 200
    assert "UPDATE" in shell.run(63)
    assert second.get().status_code in (403, 404)
    shell.run(47, nothing=True)
    assert estate.cast.operator.email in shell.run(56, **ids)
    report = Path("/tmp/impersonation_audit_report.csv")
    report.unlink(missing_ok=True)
    assert estate.cast.support.email in shell.run(57)
    head, *rows = report.read_text().splitlines()
    assert head.startswith("session_id,actor_email,") and head.endswith(",write_operations_count")
    assert any(row.startswith(first.ident) for row in rows)


def test_a_platform_admin_is_taken_off(estate: Estate, shell: Shell) -> None:
    from tenants import services
    from tenants.tokens import create_token

    suspect = services.create_user(email="suspect@example.org", name="Suspect", password=estate.cast.password)
    services.make_platform_admin(user=suspect, by=None)
    _, secret = create_token(user=suspect, name="theirs")
    said = shell.run(53, suspicious_user_id=str(suspect.pk))
    assert "(0 rows)" in said and "DELETE" in said
    answer = httpx.get(f"{estate.url}/api/v1/tenants", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


def test_what_a_support_session_did_is_taken_back(estate: Estate, shell: Shell) -> None:
    """A snapshot of how it is, the last good one restored; then roles, set back by hand from the trail."""
    ids = {"affected_environment_id": estate.production, "environment_id": estate.production}
    with tenant_scope(estate.cast.tenant.pk):
        good = Snapshot.objects.filter(environment_id=estate.production).latest("created_at")
    edited = estate.production_n8n.state()["workflows"][0]
    estate.production_n8n.edit(edited["id"], name="Edited by support")
    said = shell.run(51, **ids, last_good_snapshot_id=str(good.pk), impersonation_session_start="2999-01-01")
    assert str(good.pk) in said.tables[0].values("id")
    assert len(said.documents[-1]["restore"]["updated"]) == 1
    wait_for_jobs(estate)
    assert edited["name"] in {row["name"] for row in estate.production_n8n.state()["workflows"]}

    raised, renamed = estate.cast.viewer, estate.cast.operator
    with context.acting(actor_id=estate.cast.approver.pk, source="web"):
        people.set_platform_role(user=raised, role="compliance_officer")
        with platform_scope():
            User.objects.filter(pk=renamed.pk).update(name="Somebody else")
    shell.run(52, suspicious_actor_id=str(estate.cast.approver.pk))
    with platform_scope():
        assert dict(User.objects.filter(pk__in=[raised.pk, renamed.pk]).values_list("pk", "role")) == {
            raised.pk: "member", renamed.pk: "member",
        }  # fmt: skip


def test_refused_support_sessions_are_found(estate: Estate, shell: Shell) -> None:
    refused = SupportSession.start(estate, target=estate.cast.admin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "IMP_001")
    said = shell.run(54)
    assert str(estate.cast.admin.pk) in said and "target_is_platform_admin" in said
    assert estate.cast.admin.email in shell.run(55, attempted_target_user_id=str(estate.cast.admin.pk))
