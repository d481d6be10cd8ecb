"""A person of support at a browser, and the shortest way into a session."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.internal.flows.login import _AUTHENTICATION_METHODS_USER_SESSION_KEY
from allauth.mfa.models import Authenticator
from django.db.models import F
from django.test import Client
from django.utils import timezone

from impersonation.models import ImpersonationSession
from tenants.scope import platform_scope

WHY_WRITE = "The label's URL must change"
REASON = "Labels come out twice since this morning"
START = "/platform/support/start/"
ALLOWED = {"access": "ALLOWED", "write_consent": "EITHER", "longest_minutes": 60, "idle_minutes": 15}


def fresh(client: Client) -> Client:
    """As if the second factor, set up long ago, had been shown just now."""
    session = client.session
    Authenticator.objects.get_or_create(
        user_id=session["_auth_user_id"],
        type=Authenticator.Type.TOTP,
        defaults={"data": {"secret": "x"}, "created_at": timezone.now() - timedelta(days=30)},
    )
    session[_AUTHENTICATION_METHODS_USER_SESSION_KEY] = session["_auth_user_id"]
    session["account_authentication_methods"] = [{"method": "mfa", "type": "totp", "at": time.time()}]
    session.save()
    return client


def at_browser(user: Any, *, factor: bool = True) -> Client:
    """A browser in which somebody is signed in."""
    client = Client()
    client.force_login(user)
    return fresh(client) if factor else client


Begin = Callable[..., tuple[Client, ImpersonationSession]]


def beginner(cast: Any) -> Begin:
    """Starts sessions through the page; ``write=True`` goes on to write mode with an owner's agreement."""

    def start(actor: Any = None, target: Any = None, *, write: bool = False) -> tuple[Client, ImpersonationSession]:
        actor, target = actor or cast.support, target or cast.operator
        client = at_browser(actor)
        client.get("/platform/support/start/")
        answer = client.post(
            "/platform/support/start/", {"tenant": "acme", "person": str(target.pk), "reason": REASON, "ticket": "4821"}
        )
        assert (answer.status_code, answer["Location"]) == (302, "/t/acme/"), answer.content.decode()[:2000]
        if write:
            assert client.post("/platform/support/mine/ask/", {"reason": WHY_WRITE}).status_code == 302
            agree(cast.owner)
            assert client.post("/platform/support/mine/write/").status_code == 302
        return client, session_of(actor)

    return start


@pytest.fixture
def begin(cast: Any) -> Begin:
    return beginner(cast)


@pytest.fixture
def begin_live(live_cast: Any) -> Begin:
    """The same for tests whose work is committed."""
    return beginner(live_cast)


def agree(owner: Any, answer: str = "approve") -> int:
    """An owner answers what waits, on the customer's page."""
    from impersonation.models import SupportRequest

    with platform_scope():
        wish = SupportRequest.objects.filter(approved=None).latest("created_at")
    return at_browser(owner).post(f"/t/acme/support/requests/{wish.pk}/", {"answer": answer}).status_code


def session_of(actor: Any) -> ImpersonationSession:
    with platform_scope():
        return ImpersonationSession.objects.filter(actor_user=actor).latest("started_at")


def trail(**wanted: Any) -> list[Any]:
    """Entries of the trail, oldest first."""
    from audit.selectors import TrailFilter, filtered

    with platform_scope():
        return list(filtered(TrailFilter(**{k: str(v) for k, v in wanted.items()})).order_by("pk"))


def typed(target: Any, **more: Any) -> dict[str, Any]:
    return {"tenant": "acme", "person": str(target.pk), "reason": REASON, **more}


def set_back(session: ImpersonationSession, **minutes: int) -> None:
    """Move a session's times into the past."""
    moved = {name: F(name) - timedelta(minutes=count) for name, count in minutes.items()}
    with platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(**moved)


def second_staff(email: str = "second@example.org") -> Any:
    from tenants.services import create_user

    return create_user(email=email, name="Second", password="correct horse battery", role="support")
