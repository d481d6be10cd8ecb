"""Scheduled reports: when they are sent, once, and to whom."""

from __future__ import annotations

import smtplib
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import connection
from django.urls import reverse

from core import clock, context
from core.errors import Invalid
from operations import handlers
from operations import services as operations
from operations.models import Operation, Schedule
from operations.tests.test_engine import Crash
from operations.timing import next_moment
from reports import mailing, scheduling, services
from reports.definitions import report_named
from reports.models import ReportRun, ReportSchedule
from reports.tests.helpers import carry, drive, jobs, now_is_its_time
from tenants import people
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db


def a_schedule(cast: Any, tenant: Any, *, recipients: list[str] | None = None, due: bool = True) -> ReportSchedule:
    weekly = scheduling.NewSchedule(
        report=report_named("refused-attempts"),
        kind="csv",
        frequency="weekly",
        hour=6,
        period="week",
        recipients=tuple(recipients or ["owner@example.org" if tenant else "officer@example.org"]),
    )
    schedule = scheduling.create_schedule(weekly, tenant=tenant, by=cast.officer)
    if due:
        with platform_scope():
            Schedule.objects.filter(pk=schedule.timer_id).update(next_run_at=clock.now() - timedelta(minutes=1))
    return schedule


def runs() -> list[ReportRun]:
    with platform_scope():
        return list(ReportRun.objects.select_related("tenant").order_by("created_at"))


@pytest.mark.parametrize(
    ("frequency", "expected"), [("daily", "2026-03-05 06"), ("weekly", "2026-03-09 06"), ("monthly", "2026-04-01 06")]
)
def test_when_it_is_due_next(frequency: str, expected: str) -> None:
    wednesday = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
    assert f"{next_moment(scheduling.cron_of(frequency, 6), 'UTC', wednesday):%Y-%m-%d %H}" == expected


@pytest.mark.parametrize("where", ["tenant", "platform"])
def test_it_is_made_and_sent_once(cast: Any, where: str) -> None:
    a_schedule(cast, cast.tenant if where == "tenant" else None)
    assert operations.run_due_schedules() == 1
    assert operations.run_due_schedules() == 0
    (job,) = jobs()
    for _ in range(3):
        drive(job)
    (message,) = mail.outbox
    (run,) = runs()
    assert (run.mail_status, message.to) == (
        "SENT",
        ["owner@example.org" if where == "tenant" else "officer@example.org"],
    )
    names = [attachment.get_filename() for attachment in message.attachments]
    assert names == [mailing.download_name(run), mailing.download_name(run) + ".manifest.json"]
    assert run.sha256 in message.body


@pytest.mark.django_db(transaction=True)
def test_two_beats_ask_once(live_cast: Any) -> None:
    a_schedule(live_cast, live_cast.tenant)
    started: list[int] = []
    ready = threading.Barrier(2)

    def beat() -> None:
        with context.acting(source="system"):
            ready.wait()
            try:
                started.append(operations.run_due_schedules())
            finally:
                connection.close()

    threads = [threading.Thread(target=beat) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(started) == 1 and len(jobs()) == 1


def test_only_those_who_may_read_it_get_it(cast: Any) -> None:
    for tenant, address in (
        (cast.tenant, "viewer@example.org"),
        (cast.tenant, "x@example.com"),
        (None, "owner@example.org"),
    ):
        with pytest.raises(Invalid) as refused:
            a_schedule(cast, tenant, recipients=[address])
        assert address in refused.value.details["recipients"]


def test_somebody_who_left_gets_nothing(cast: Any) -> None:
    a_schedule(cast, cast.tenant, recipients=["owner@example.org", "approver@example.org"])
    operations.run_due_schedules()
    people.remove_member(tenant=cast.tenant, user_id=cast.approver.pk)
    drive(*jobs())
    assert mail.outbox[0].to == ["owner@example.org"]
    assert "approver@example.org" in runs()[0].mail_note


def test_a_server_that_refuses_is_asked_again_and_a_broken_line_is_not(cast: Any, monkeypatch: Any) -> None:
    a_schedule(cast, None)
    operations.run_due_schedules()
    (job,) = jobs()
    sent: list[str] = []

    def sending(error: Exception | None) -> None:
        def send(message: EmailMessage, *args: Any, **kwargs: Any) -> int:
            sent.append(message.subject)
            if error:
                raise error
            return 1

        monkeypatch.setattr(EmailMessage, "send", send)

    sending(smtplib.SMTPDataError(451, b"later"))
    drive(job)
    assert (runs()[0].mail_status, runs()[0].run_after is None) == ("WAITING", False)
    now_is_its_time()
    sending(smtplib.SMTPServerDisconnected("gone"))
    assert (drive(job), drive(job)) == ("PARKED", None)
    assert runs()[0].mail_status == "UNKNOWN" and len(sent) == 2
    sending(None)
    operations.retry(tenant_id=None, operation_id=job.pk)
    assert drive(job) == "PARKED" and len(sent) == 2, "that the job tries again is no word about the mail"
    services.send_again(run=runs()[0])
    assert drive(job) == "COMPLETED"
    assert runs()[0].mail_status == "SENT" and len(sent) == 3


def test_a_sender_that_died_leaves_an_unknown_mail(cast: Any) -> None:
    a_schedule(cast, None)
    operations.run_due_schedules()
    (job,) = jobs()

    def dies(boundary: str) -> None:
        if boundary == "mail:effect-answered":
            raise Crash

    handlers.boundary_observers.append(dies)
    try:
        with pytest.raises(Crash):
            drive(job)
    finally:
        handlers.boundary_observers.remove(dies)
    with platform_scope():
        # The line between “it left” and “that is known” was not reached.
        ReportRun.objects.update(mail_status="SENDING")
        Operation.objects.update(lease_expires_at=clock.now() - timedelta(seconds=1))
    mail.outbox.clear()
    assert drive(job) == "PARKED"
    assert runs()[0].mail_status == "UNKNOWN" and mail.outbox == []


@pytest.mark.parametrize(("status", "became"), [("SENDING", "UNKNOWN"), ("WAITING", "FAILED")])
def test_a_job_that_is_ended_by_hand_leaves_its_mail_to_a_person(cast: Any, status: str, became: str) -> None:
    a_schedule(cast, None)
    operations.run_due_schedules()
    (job,) = jobs()
    drive(job)
    with platform_scope():
        Operation.objects.update(status="RUNNING")
        ReportRun.objects.update(mail_status=status)
        Operation.objects.update(status="FAILED", error_message="Emergency stop executed")
    (run,) = runs()
    assert (run.status, run.mail_status) == ("COMPLETED", became)
    services.send_again(run=run)
    assert carry(run).mail_status == "SENT" and len(mail.outbox) == 2


def test_a_large_file_is_a_link(cast: Any, monkeypatch: Any, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://console.example.org"]
    monkeypatch.setattr(mailing, "LARGEST_ATTACHMENT_BYTES", 1)
    a_schedule(cast, None)
    operations.run_due_schedules()
    drive(*jobs())
    (run,) = runs()
    (message,) = mail.outbox
    assert f"https://console.example.org/platform/reports/runs/{run.pk}/" in message.body
    assert [attachment.get_filename() for attachment in message.attachments] == [
        mailing.download_name(run) + ".manifest.json"
    ]


def test_from_the_page(cast: Any, client: Any) -> None:
    client.force_login(cast.owner)
    slug = {"tenant_slug": "acme"}
    address = reverse("report-schedule-new", kwargs={**slug, "name": "access-review"})
    given = {
        "frequency": "monthly",
        "hour": "5",
        "format": "xlsx",
        "recipients": "owner@example.org\nviewer@example.org",
    }
    wrong = client.post(address, given)
    assert wrong.status_code == 422 and b"viewer@example.org" in wrong.content
    assert client.post(address, {**given, "recipients": "owner@example.org"}).status_code == 302
    assert b"On the first of the month" in client.get(reverse("reports", kwargs=slug)).content
    with tenant_scope(cast.tenant.pk):
        schedule = ReportSchedule.objects.get()
    change = reverse("report-schedule", kwargs={**slug, "pk": schedule.pk})
    client.post(change, {"action": "pause"})
    with platform_scope():
        Schedule.objects.update(next_run_at=clock.now() - timedelta(days=1))
    assert operations.run_due_schedules() == 0
    client.force_login(cast.stranger)
    theirs = reverse("report-schedule", kwargs={"tenant_slug": "umbrella", "pk": schedule.pk})
    assert client.post(theirs, {"action": "remove"}).status_code == 404
    client.force_login(cast.owner)
    client.post(change, {"action": "remove"})
    with platform_scope():
        assert not ReportSchedule.objects.exists() and not Schedule.objects.exists()


def test_a_worker_that_was_not_woken_is_found_by_the_reaper(cast: Any, monkeypatch: Any) -> None:
    a_schedule(cast, None)
    operations.run_due_schedules()
    (job,) = jobs()
    woken: list[Any] = []
    monkeypatch.setattr(operations, "wake", lambda **told: woken.append(told))
    with platform_scope():
        Operation.objects.update(created_at=clock.now() - timedelta(minutes=1))
    assert operations.reap() == 1
    assert woken == [{"operation_id": job.pk, "tenant_id": None}]


def test_the_period_counts_from_when_it_was_due(cast: Any) -> None:
    """A worker that comes days late reports on the week that was meant."""
    schedule = a_schedule(cast, cast.tenant)
    due = datetime(2026, 3, 9, 6, tzinfo=UTC)
    with platform_scope():
        Schedule.objects.filter(pk=schedule.timer_id).update(next_run_at=due)
    operations.run_due_schedules()
    drive(*jobs())
    (run,) = runs()
    assert (run.params["since"][:10], run.params["until"][:10]) == ("2026-03-02", "2026-03-09")
    assert run.schedule_id == schedule.pk and jobs()[0].subject_id == run.pk


def test_a_schedule_that_is_removed_meanwhile_makes_nothing(cast: Any) -> None:
    schedule = a_schedule(cast, cast.tenant)
    operations.run_due_schedules()
    scheduling.change_schedule(tenant_id=cast.tenant.pk, schedule_id=schedule.pk, action="remove")
    assert drive(*jobs()) == "FAILED"
    (told,) = (job.error_details for job in jobs())
    assert (told["code"], told["message"]) == ("REPORT_GONE", "The report or its schedule has been removed.")
    assert told["recovery"] == "Make the report again if you still need it."
    assert runs() == [] and mail.outbox == []
