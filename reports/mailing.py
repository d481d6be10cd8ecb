"""A report by mail: once, to people who may read it at that moment. A step of the report's job.

SENDING is committed before the mail is sent, SENT after. A mail found in SENDING without a worker may have been sent:
it becomes UNKNOWN, and the job is parked until a person decides to send it again.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
from collections.abc import Iterable
from email.encoders import encode_base64
from email.mime.base import MIMEBase
from typing import Any

import orjson
from django.conf import settings
from django.core.mail import get_connection
from django.db.models import Q
from django.urls import reverse

from audit.mail import NOT_SENT, cause_of
from audit.services import record_event
from core import outgoing
from core.errors import OpsError
from operations.effects import Effect, ProbeResult
from operations.errors import UnknownOutcome
from operations.handlers import checkpoint
from operations.run import Run
from tenants.mail import TenantMessage
from tenants.models import Grants, PlatformRole, Tenant, TenantUserObjectPermission, User
from tenants.scope import assert_no_scope, platform_scope, tenant_or_platform_scope

from . import files, formats
from .definitions import report_named
from .documents import parameters_of
from .errors import NotMailed
from .making import title_of
from .models import MailStatus, ReportRun

logger = logging.getLogger(__name__)

LARGEST_ATTACHMENT_BYTES = 10 * 1024 * 1024
MOST_ATTEMPTS = 4
#: Longer than the engine's own pauses: a mail server that refuses needs time.
PAUSES_SECONDS = (5.0, 60.0, 600.0)
#: States in which nothing has been sent.
UNSENT = (MailStatus.WAITING, MailStatus.FAILED)


class NotTaken(OpsError):
    """The mail server did not accept the mail; nothing was sent, and it is tried again after a pause."""

    code = "REPORT_MAIL_NOT_TAKEN"
    title = "The mail server did not accept the mail"
    recovery = "It is retried automatically."
    status = 503

    def __init__(self, message: str, *, after_seconds: float) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


def who_may_receive(tenant: Tenant | None, addresses: Iterable[str]) -> list[str]:
    """The addresses whose people may read the report now: readers of the tenant's trail, and platform staff.

    Opens the platform's scope.
    """
    wanted = [address.strip().lower() for address in addresses]
    staff = Q(role=PlatformRole.COMPLIANCE_OFFICER) | Q(platform_admin__isnull=False)
    with platform_scope():
        people = User.objects.filter(is_active=True, is_service=False, email__in=wanted)
        allowed = staff
        if tenant is not None:
            readers = TenantUserObjectPermission.objects.filter(
                content_object=tenant, permission__codename=Grants.VIEW_TRAIL
            )
            allowed |= Q(pk__in=readers.values("user_id"))
        return sorted(people.filter(allowed).values_list("email", flat=True).distinct())


def mail_effect(run: Run, record: ReportRun) -> Effect:
    """Sending the mail, as a step."""

    def look(_intent: dict[str, Any]) -> ProbeResult:
        with tenant_or_platform_scope(record.tenant_id):
            found = ReportRun.objects.get(pk=record.pk)
        if found.mail_status == MailStatus.SENT:
            return ProbeResult.done({"sent": True})
        # WAITING: it was never SENDING, or a person decided to send it again.
        return ProbeResult.not_done() if found.mail_status in UNSENT else ProbeResult.unknown()

    return Effect("mail", "Send the mail", {"recipients": len(record.mail_to)}, lambda: _send(run, record), look)


def give_up_on_the_unknown(run: Run, record: ReportRun) -> None:
    """Record that nobody knows whether the mail was sent: its worker is gone."""
    with run.fenced():
        _conclude(record, MailStatus.UNKNOWN, "The worker that was sending it stopped. It may have been sent.")


def _send(run: Run, record: ReportRun) -> dict[str, Any]:
    assert_no_scope("Sending mail")
    recipients = who_may_receive(record.tenant, record.mail_to)
    with run.fenced():
        record.mail_attempt += 1
        sending = ReportRun.objects.filter(pk=record.pk, mail_status__in=UNSENT).update(
            mail_status=MailStatus.SENDING, mail_attempt=record.mail_attempt
        )
    if not sending:
        raise UnknownOutcome("An unexpected failure interrupted the sending of the mail.")
    checkpoint("mail:leaving")
    if not recipients:
        raise _failed(run, record, "None of the recipients may read this report any longer.")
    try:
        message = _message(record, recipients)
    except FileNotFoundError as error:
        raise _failed(run, record, "The file is gone.") from error
    _hand_over(run, record, message)
    left_out = sorted({address.lower() for address in record.mail_to} - {address.lower() for address in recipients})
    with run.fenced():
        _conclude(
            record,
            MailStatus.SENT,
            f"Sent to {', '.join(recipients)}."
            + (f" Left out because they may not read it: {', '.join(left_out)}." if left_out else ""),
        )
    return {"sent": True, "left_out": len(left_out)}


def _hand_over(run: Run, record: ReportRun, message: TenantMessage) -> None:
    """Send it. Raises ``NotTaken`` or ``NotMailed`` where nothing was sent, else ``UnknownOutcome``."""
    outgoing.refuse_stopped()
    message.connection = connection = get_connection()
    try:
        # Separately: whatever fails before there is a connection, nothing was sent.
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        raise _not_now(run, record, "could not be reached", error) from error
    try:
        message.send()
    except NOT_SENT as error:
        raise _not_now(run, record, "refused", error) from error
    except Exception as error:
        logger.exception("a report's mail is in an unknown state", extra={"report_run": str(record.pk)})
        note = f"The connection to the {_server()} broke: {cause_of(error)}. The mail may have been sent."
        with run.fenced():
            _conclude(record, MailStatus.UNKNOWN, note)
        raise UnknownOutcome(f"The connection to the {_server()} broke. The mail may have been sent.") from error
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def _not_now(run: Run, record: ReportRun, what: str, error: Exception) -> OpsError:
    """The failure of a mail that was not sent: to be tried again, unless this was the last attempt."""
    note, public = f"The {_server()} {what}: {cause_of(error)}.", f"The {_server()} {what}. The mail was not sent."
    if run.is_last_attempt or record.mail_attempt >= MOST_ATTEMPTS:
        return _failed(run, record, note, public=public)
    with run.fenced():
        _conclude(record, MailStatus.WAITING, note)
    return NotTaken(public, after_seconds=PAUSES_SECONDS[min(record.mail_attempt, len(PAUSES_SECONDS)) - 1])


def _failed(run: Run, record: ReportRun, note: str, *, public: str = "") -> NotMailed:
    """``public`` is what the job shows: more people see it than the run, and a server's answer may hold addresses."""
    with run.fenced():
        _conclude(record, MailStatus.FAILED, note)
    return NotMailed(public or note)


def _server() -> str:
    return f"mail server {settings.EMAIL_HOST}:{settings.EMAIL_PORT}" if settings.EMAIL_HOST else "mail server"


def _message(run: ReportRun, recipients: list[str]) -> TenantMessage:
    report, title = report_named(run.report), title_of(report_named(run.report), run.tenant)
    when = _period_of(run)
    lines = [title, report.answers, "", f"Period: {when} (UTC)", f"Rows: {run.rows}", f"SHA-256: {run.sha256}"]
    path = files.path_of(run.tenant_id, run.file_name)
    attached = path.stat().st_size <= LARGEST_ATTACHMENT_BYTES
    if not attached:
        lines += ["", "The file is too large for a mail. Sign in to download it:"]
    lines += ["", page_address(run)]
    message = TenantMessage(
        subject=f"[OpsConsole] {title}, {when}".replace("\n", " "),
        body="\n".join(lines) + "\n",
        to=recipients,
        tenant_id=run.tenant_id,
        # The same at every attempt, so that a mailbox recognizes a repetition.
        headers={"Message-ID": f"<report-{run.pk}@opsconsole>"},
    )
    if attached:
        message.attach(_attachment(download_name(run), path.read_bytes(), formats.CONTENT_TYPES[run.format]))  # type: ignore[index]
    manifest_bytes = orjson.dumps(run.manifest or {}, option=orjson.OPT_INDENT_2)
    message.attach(_attachment(f"{download_name(run)}.manifest.json", manifest_bytes, "application/json"))
    return message


def _period_of(run: ReportRun) -> str:
    """The period as days; where the report has none, the day on which it was made."""
    period = parameters_of(run.params)
    if period.since and period.until:
        return f"{period.since[:10]} to {period.until[:10]}"
    return run.as_of.date().isoformat()


def _attachment(name: str, data: bytes, content_type: str) -> MIMEBase:
    """The exact bytes, whatever their type: as text their line ends, and so their hash, would change on the way."""
    kind, _, subtype = content_type.partition(";")[0].partition("/")
    part = MIMEBase(kind, subtype)
    part.set_payload(data)
    encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def download_name(run: ReportRun) -> str:
    """The name of the downloaded file."""
    owner = run.tenant.slug if run.tenant else "platform"
    return f"{run.report}-{owner}-{run.as_of:%Y%m%d-%H%M%S}.{run.format}"


def page_address(run: ReportRun) -> str:
    """The address of the run's page; absolute where OPSCONSOLE_ORIGINS is set."""
    if run.tenant:
        path = reverse("report-run", kwargs={"tenant_slug": run.tenant.slug, "pk": run.pk})
    else:
        path = reverse("platform-report-run", kwargs={"pk": run.pk})
    origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "")
    return origin.rstrip("/") + path


def _conclude(record: ReportRun, status: MailStatus, note: str) -> None:
    """Record what became of the mail, with an entry in the trail. Inside the job's fence."""
    sending = ReportRun.objects.filter(pk=record.pk, mail_status=MailStatus.SENDING)
    if sending.update(mail_status=status, mail_note=note[:1000]):
        record_event(
            action="REPORT_MAILED" if status == MailStatus.SENT else "REPORT_NOT_MAILED",
            resource_type="report_runs",
            resource_id=record.pk,
            tenant_id=record.tenant_id,
            details={"status": str(status), "note": note},
        )
