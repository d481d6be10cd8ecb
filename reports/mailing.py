"""A report by mail: to people who may read it at that moment, once. A step of the report's job.

Before the mail leaves, SENDING is committed; after it, SENT. What is found SENDING with nobody at work may have left or
not: it becomes UNKNOWN and the job is parked, until a person says to send it (once more).
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
from .errors import NotMailed
from .making import title_of
from .models import MailStatus, ReportRun

logger = logging.getLogger(__name__)

LARGEST_ATTACHMENT_BYTES = 10 * 1024 * 1024
MOST_TRIES = 4
#: A mail server that refuses is given longer than the engine's own pauses.
PAUSES_SECONDS = (5.0, 60.0, 600.0)
#: States in which nothing has left.
UNSENT = (MailStatus.WAITING, MailStatus.FAILED)


class NotTaken(OpsError):
    """The mail server did not take the mail; nothing has left, and it is tried again after a while."""

    code = "REPORT_MAIL_NOT_TAKEN"
    title = "The mail server did not take the mail"
    recovery = "It is tried again by itself after a pause."
    status = 503

    def __init__(self, message: str, *, after_seconds: float) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


def who_may_receive(tenant: Tenant | None, addresses: Iterable[str]) -> list[str]:
    """Those of the addresses whose people may read the report now: the trail's readers of the tenant, platform staff.

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
        # WAITING: it never came to SENDING, or a person has decided that it is to be sent (again).
        return ProbeResult.not_done() if found.mail_status in UNSENT else ProbeResult.unknown()

    return Effect("mail", "Send the mail", {"recipients": len(record.mail_to)}, lambda: _send(run, record), look)


def give_up_on_the_unknown(run: Run, record: ReportRun) -> None:
    """A mail whose sender is gone: whether it left is for a person to find out."""
    with run.fenced():
        _conclude(record, MailStatus.UNKNOWN, "The worker that sent it is gone. It may have left or not.")


def _send(run: Run, record: ReportRun) -> dict[str, Any]:
    assert_no_scope("Sending mail")
    recipients = who_may_receive(record.tenant, record.mail_to)
    with run.fenced():
        record.mail_attempt += 1
        sending = ReportRun.objects.filter(pk=record.pk, mail_status__in=UNSENT).update(
            mail_status=MailStatus.SENDING, mail_attempt=record.mail_attempt
        )
    if not sending:
        raise UnknownOutcome("The mail was being sent when something failed that nobody foresaw.")
    checkpoint("mail:leaving")
    if not recipients:
        raise _failed(run, record, "None of the recipients may read this report any more.")
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
            + (f" Left out, because they may not read it: {', '.join(left_out)}." if left_out else ""),
        )
    return {"sent": True, "left_out": len(left_out)}


def _hand_over(run: Run, record: ReportRun, message: TenantMessage) -> None:
    """To the mail server. Raises ``NotTaken`` or ``NotMailed`` where nothing has left, else ``UnknownOutcome``."""
    outgoing.refuse_stopped()
    message.connection = connection = get_connection()
    try:
        # Apart, because whatever goes wrong before there is a connection, nothing has left.
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        raise _not_now(run, record, "could not be reached", error) from error
    try:
        message.send()
    except NOT_SENT as error:
        raise _not_now(run, record, "refused", error) from error
    except Exception as error:
        logger.exception("a report's mail is in an unknown state", extra={"report_run": str(record.pk)})
        told = f"The connection to the {_server()} broke: {cause_of(error)}. The mail may have left."
        with run.fenced():
            _conclude(record, MailStatus.UNKNOWN, told)
        raise UnknownOutcome(f"The connection to the {_server()} broke. The mail may have left.") from error
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def _not_now(run: Run, record: ReportRun, what: str, error: Exception) -> OpsError:
    """Nothing has left: later once more, unless this was the last try."""
    told, public = f"The {_server()} {what}: {cause_of(error)}.", f"The {_server()} {what}. Nothing has left."
    if run.is_last_attempt or record.mail_attempt >= MOST_TRIES:
        return _failed(run, record, told, public=public)
    with run.fenced():
        _conclude(record, MailStatus.WAITING, told)
    return NotTaken(public, after_seconds=PAUSES_SECONDS[min(record.mail_attempt, len(PAUSES_SECONDS)) - 1])


def _failed(run: Run, record: ReportRun, told: str, *, public: str = "") -> NotMailed:
    """``public`` is what the job says: more people see it than the run, and a server's words may hold addresses."""
    with run.fenced():
        _conclude(record, MailStatus.FAILED, told)
    return NotMailed(public or told)


def _server() -> str:
    return f"mail server {settings.EMAIL_HOST}:{settings.EMAIL_PORT}" if settings.EMAIL_HOST else "mail server"


def _message(run: ReportRun, recipients: list[str]) -> TenantMessage:
    report, manifest = report_named(run.report), run.manifest or {}
    title = title_of(report, run.tenant)
    period = manifest.get("parameters", {})
    when = f"{period['since'][:10]} to {period['until'][:10]}" if period.get("since") else str(manifest["as_of"])[:10]
    lines = [title, report.answers, "", f"Period: {when} (UTC)", f"Rows: {run.rows}", f"SHA-256: {run.sha256}"]
    path = files.path_of(run.tenant_id, run.file_name)
    attached = path.stat().st_size <= LARGEST_ATTACHMENT_BYTES
    if not attached:
        lines += ["", "The file is too large for a mail. Sign in to fetch it:"]
    lines += ["", page_address(run)]
    message = TenantMessage(
        subject=f"[OpsConsole] {title}, {when}".replace("\n", " "),
        body="\n".join(lines) + "\n",
        to=recipients,
        tenant_id=run.tenant_id,
        # The same at every try, so that a mailbox can tell a repetition.
        headers={"Message-ID": f"<report-{run.pk}@opsconsole>"},
    )
    if attached:
        message.attach(_attachment(download_name(run), path.read_bytes(), formats.CONTENT_TYPES[run.format]))  # type: ignore[index]
    manifest_bytes = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    message.attach(_attachment(f"{download_name(run)}.manifest.json", manifest_bytes, "application/json"))
    return message


def _attachment(name: str, data: bytes, content_type: str) -> MIMEBase:
    """The very bytes, whatever their type: as text their line ends, and so their digest, would change on the way."""
    kind, _, subtype = content_type.partition(";")[0].partition("/")
    part = MIMEBase(kind, subtype)
    part.set_payload(data)
    encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def download_name(run: ReportRun) -> str:
    """What the file is called on a person's disk."""
    place = run.tenant.slug if run.tenant else "platform"
    return f"{run.report}-{place}-{run.as_of:%Y%m%d-%H%M%S}.{run.format}"


def page_address(run: ReportRun) -> str:
    """The run's page; whole where OPSCONSOLE_ORIGINS says where the console stands."""
    if run.tenant:
        path = reverse("report-run", kwargs={"tenant_slug": run.tenant.slug, "pk": run.pk})
    else:
        path = reverse("platform-report-run", kwargs={"pk": run.pk})
    origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "")
    return origin.rstrip("/") + path


def _conclude(record: ReportRun, status: MailStatus, note: str) -> None:
    """What became of the mail that is being sent, and the trail's entry. Inside the job's fence."""
    sending = ReportRun.objects.filter(pk=record.pk, mail_status=MailStatus.SENDING)
    if sending.update(mail_status=status, mail_note=note[:1000]):
        record_event(
            action="REPORT_MAILED" if status == MailStatus.SENT else "REPORT_NOT_MAILED",
            resource_type="report_runs",
            resource_id=record.pk,
            tenant_id=record.tenant_id,
            details={"status": str(status), "note": note},
        )
