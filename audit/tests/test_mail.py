"""Every mail is in the trail twice, intended and ended; its text is not."""

from __future__ import annotations

import re
import smtplib
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.test import Client

from audit.models import AuditLog
from tenants.mail import TenantMessage
from tenants.models import User
from tenants.scope import ScopeError, platform_scope, tenant_scope

pytestmark = pytest.mark.django_db


class Broken(BaseEmailBackend):
    """A server that does with a mail what the test says."""

    error: Exception = smtplib.SMTPServerDisconnected("gone")

    def send_messages(self, email_messages: Any) -> int:
        with platform_scope():
            assert AuditLog.objects.filter(resource_type="mails").latest("pk").action == "EFFECT_INTENDED"
        raise self.error


@pytest.fixture(autouse=True)
def _trailed(settings: Any) -> None:
    settings.EMAIL_DELIVERY, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, "audit.mail.TrailedBackend"
    settings.SENDS_MAIL = True


def entries() -> list[AuditLog]:
    with platform_scope():
        return list(AuditLog.objects.filter(resource_type="mails").order_by("pk"))


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (smtplib.SMTPServerDisconnected("gone"), "EFFECT_UNKNOWN"),
        (smtplib.SMTPDataError(451, b"later"), "EFFECT_FAILED"),
        (ConnectionRefusedError(), "EFFECT_FAILED"),
    ],
)
def test_a_mail_that_fails(cast: Any, settings: Any, monkeypatch: Any, error: Exception, ending: str) -> None:
    settings.EMAIL_DELIVERY = f"{__name__}.Broken"
    monkeypatch.setattr(Broken, "error", error)
    said: dict[str, Any] = {"body": "The secret is xyzzy", "to": ["a@b.org"], "tenant_id": cast.tenant.pk}
    with pytest.raises(type(error)):
        TenantMessage("Drift in Production", **said).send()
    assert TenantMessage("Drift in Production", **said).send(fail_silently=True) == 0
    begun, ended, *again = entries()
    assert (begun.action, ended.action) == ("EFFECT_INTENDED", ending)
    assert begun.resource_id == ended.resource_id != again[0].resource_id and len(again) == 2
    assert ended.details == {"system": "mail", "to": ["a@b.org"], "code": type(error).__name__}
    assert {row.tenant_id for row in (begun, ended)} == {cast.tenant.pk}
    assert ended.object_repr == "Drift in Production" and "xyzzy" not in str([row.details for row in entries()])


def test_no_mail_leaves_inside_a_transaction(cast: Any) -> None:
    with pytest.raises(ScopeError), tenant_scope(cast.tenant.pk):
        EmailMessage("Subject", "Text", to=["a@b.org"]).send()
    assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
def test_an_invitation_leaves_once_the_person_is_on_record(live_cast: Any) -> None:
    client = Client()
    client.force_login(live_cast.admin)
    answer = client.post("/platform/people/", {"email": "new@example.org", "name": "New", "role": "member"})
    assert answer.status_code == 302, answer.content.decode()[:2000]
    (message,) = mail.outbox
    link = re.search(r"https?://[^/]+(/\S+)", message.body)
    assert link and link[1] not in str([row.details for row in entries()])
    assert [row.action for row in entries()] == ["EFFECT_INTENDED", "EFFECT_DONE"]
    assert {row.actor_user_id for row in entries()} == {live_cast.admin.pk}
    assert User.objects.filter(email="new@example.org").exists()
    owner = Client()
    owner.force_login(live_cast.owner)
    owner.post("/t/acme/members/", {"email": "other@example.org", "name": "Other", "role": "viewer"})
    assert [row.tenant_id for row in entries()][-2:] == [live_cast.tenant.pk] * 2


def test_mail_kept_as_files_is_the_consoles_alone(settings: Any, tmp_path: Path) -> None:
    """Links in it open accounts; a folder that an older console left open is closed as well."""
    folder = tmp_path / "mail"
    folder.mkdir(mode=0o755)
    settings.EMAIL_DELIVERY, settings.EMAIL_FILE_PATH = "audit.mail.PrivateFiles", folder
    EmailMessage("A new password", "https://…", to=["ann@example.org"]).send()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and len(list(folder.iterdir())) == 1
