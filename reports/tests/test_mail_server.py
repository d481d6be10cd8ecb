"""Scheduled reports through a real mail server: login, STARTTLS, refusals, silence, a line that breaks. Never twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from audit.models import AuditLog
from conftest import ROOT
from operations import services as operations
from operations.models import Operation, OperationStep
from reports import mailing, services
from reports.models import ReportRun
from reports.tests.helpers import carry, drive, jobs, now_is_its_time
from reports.tests.smtp import PASSWORD, USER, MailServer, mail_server
from reports.tests.test_schedules import a_schedule, runs
from tenants.scope import platform_scope


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[MailServer]:
    """A mail server that the console is set up for, as `OPSCONSOLE_MAIL_URL` would."""
    with mail_server(tmp_path) as (running, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        settings.EMAIL_BACKEND = "audit.mail.TrailedBackend"
        settings.EMAIL_DELIVERY = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "localhost", running.port, True
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = USER, PASSWORD
        settings.EMAIL_TIMEOUT = 2
        yield running


def due(cast: Any) -> Operation:
    a_schedule(cast, cast.tenant)
    operations.run_due_schedules()
    (job,) = jobs()
    return job


def first_try(cast: Any) -> ReportRun:
    drive(due(cast))
    return runs()[0]


def again(run: ReportRun) -> ReportRun:
    """The next try, without the waiting."""
    now_is_its_time()
    return carry(run)


def contents(message: Any) -> dict[str, bytes]:
    return {part.get_filename(): part.get_payload(decode=True) for part in message.walk() if part.get_filename()}


@pytest.mark.django_db(transaction=True)
def test_as_the_environment_says(live_cast: Any, tmp_path: Path, settings: Any) -> None:
    """A worker's own process, set up by `OPSCONSOLE_MAIL_URL` alone."""
    job = due(live_cast)
    with mail_server(tmp_path) as (server, certificate):
        variables = {
            **os.environ,
            "OPSCONSOLE_MODE": "test",
            "OPSCONSOLE_REPORTS_ROOT": str(settings.REPORTS_ROOT),
            "OPSCONSOLE_MAIL_URL": f"smtp+tls://{USER}:{quote(PASSWORD, safe='')}@localhost:{server.port}",
            "OPSCONSOLE_MAIL_FROM": "Console <console@example.org>",
            "SSL_CERT_FILE": str(certificate),
        }
        lines = (
            "from core import context; context.set_current(context.ActionContext(source='system'))",
            f"from operations.tasks import drive; [drive('{job.pk}', '{job.tenant_id}') for _ in range(2)]",
        )
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", "\n".join(lines)]
        ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-2000:]
        (message,) = server.taken
    run = runs()[0]
    assert run.mail_status == "SENT", run.mail_note
    assert (message["From"], message["To"]) == ("Console <console@example.org>", "owner@example.org")
    found = contents(message)
    assert set(found) == {mailing.download_name(run), mailing.download_name(run) + ".manifest.json"}
    assert found[mailing.download_name(run)] == services.file_of(run).read_bytes()
    assert run.sha256 in message.get_payload(0).get_payload(decode=True).decode()


@pytest.mark.django_db(transaction=True)
def test_a_large_file_is_a_link(
    live_cast: Any, server: MailServer, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://console.example.org"]
    monkeypatch.setattr(mailing, "LARGEST_ATTACHMENT_BYTES", 1)
    run = first_try(live_cast)
    (message,) = server.taken
    assert set(contents(message)) == {mailing.download_name(run) + ".manifest.json"}
    assert f"https://console.example.org/t/acme/reports/runs/{run.pk}/" in str(message.get_payload(0).get_payload())
    assert {"STARTTLS", "AUTH"} <= set(server.seen)


@pytest.mark.django_db(transaction=True)
def test_a_server_that_refuses_is_named_and_asked_again(live_cast: Any, server: MailServer) -> None:
    server.mood = "refuse"
    run = first_try(live_cast)
    assert run.mail_status == "WAITING" and run.run_after is not None
    assert f"localhost:{server.port} refused: 451 come back later" in run.mail_note
    assert carry(run).mail_attempt == 1, "not before its time"
    with platform_scope():
        told = OperationStep.objects.get(operation_id=run.operation_id, error__code="REPORT_MAIL_NOT_TAKEN").error
    assert "refused. The mail was not sent." in told["message"] and told["recovery"] == "It is retried automatically."
    server.mood = ""
    assert again(run).mail_status == "SENT"
    assert again(run).mail_status == "SENT" and len(server.taken) == 1
    with platform_scope():
        actions = list(AuditLog.objects.filter(resource_type="mails").order_by("pk").values_list("action", flat=True))
    assert actions == ["EFFECT_INTENDED", "EFFECT_FAILED", "EFFECT_INTENDED", "EFFECT_DONE"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("trouble", ["silent", "away", "password"])
def test_a_server_that_is_not_reached_is_named_and_nothing_is_lost(
    live_cast: Any, server: MailServer, trouble: str, settings: Any
) -> None:
    settings.EMAIL_TIMEOUT = 0.3
    said = {"silent": "timed out", "away": "refused", "password": "535 wrong password"}[trouble]
    if trouble == "away":
        settings.EMAIL_PORT = 1
    elif trouble == "password":
        settings.EMAIL_HOST_PASSWORD = "wrong"
    else:
        server.mood = "silent"
    run = first_try(live_cast)
    assert (run.status, run.mail_status) == ("COMPLETED", "WAITING"), run.mail_note
    assert "localhost:" in run.mail_note and "could not be reached" in run.mail_note and said in run.mail_note
    assert PASSWORD not in run.mail_note
    for _ in range(5):
        run = again(run)
    assert (run.mail_status, run.mail_attempt) == ("FAILED", 4), "a person is told, and may send it again"
    server.mood, settings.EMAIL_PORT, settings.EMAIL_HOST_PASSWORD = "", server.port, PASSWORD
    settings.EMAIL_TIMEOUT = 2
    services.send_again(run=run)
    assert again(run).mail_status == "SENT" and len(server.taken) == 1


@pytest.mark.django_db(transaction=True)
def test_a_line_that_breaks_after_the_mail_is_not_used_again_unasked(live_cast: Any, server: MailServer) -> None:
    server.mood = "cut"
    run = first_try(live_cast)
    assert run.mail_status == "UNKNOWN" and f"localhost:{server.port}" in run.mail_note
    server.mood = ""
    for _ in range(3):
        run = again(run)
    assert run.mail_status == "UNKNOWN" and len(server.taken) == 1
    services.send_again(run=run)
    assert again(run).mail_status == "SENT"
    first, second = server.taken
    assert first["Message-ID"] == second["Message-ID"], "a mailbox can tell that it is the same"
