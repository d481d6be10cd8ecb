"""A report by mail: to people who may read it at that moment, once.

Before the mail leaves, SENDING is committed; after it, SENT. What is found SENDING with nobody at work may have left or
not: it becomes UNKNOWN, and a person decides.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
import uuid
from collections.abc import Iterable
from datetime import timedelta
from email.encoders import encode_base64
from email.mime.base import MIMEBase

import orjson
from django.conf import settings
from django.core.mail import get_connection
from django.db.models import F, Q
from django.urls import reverse

from audit.mail import NOT_SENT, cause_of
from audit.services import record_event
from core import clock, context
from tenants.mail import TenantMessage
from tenants.models import Grants, PlatformRole, Tenant, TenantUserObjectPermission, User
from tenants.scope import assert_no_scope, platform_scope

from . import files, formats
from .definitions import report_named
from .making import MAX_ATTEMPTS, RETRY_DELAYS_SECONDS, place_scope, title_of
from .models import MailStatus, ReportRun, RunStatus

logger = logging.getLogger(__name__)

LARGEST_ATTACHMENT_BYTES = 10 * 1024 * 1024
#: Longer than any mail server is waited for.
SENDING_LASTS = timedelta(minutes=10)


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


def send(run_id: uuid.UUID) -> str | None:
    """Send a run's mail if it waits; what became of it."""
    assert_no_scope("Sending mail")
    now = clock.now()
    with context.acting(source="system"), platform_scope():
        waiting = ReportRun.objects.filter(
            Q(run_after=None) | Q(run_after__lte=now),
            pk=run_id,
            status=RunStatus.COMPLETED,
            mail_status=MailStatus.WAITING,
        )
        if not waiting.update(
            mail_status=MailStatus.SENDING,
            mail_attempt=F("mail_attempt") + 1,
            lease_expires_at=now + SENDING_LASTS,
        ):
            return None
        run = ReportRun.objects.select_related("tenant").get(pk=run_id)
    recipients = who_may_receive(run.tenant, run.mail_to)
    if not recipients:
        return _conclude(run, MailStatus.FAILED, "None of the recipients may read this report any more.")
    left_out = sorted({address.lower() for address in run.mail_to} - {address.lower() for address in recipients})
    try:
        message = _message(run, recipients)
    except FileNotFoundError:
        return _conclude(run, MailStatus.FAILED, "The file is gone.")
    message.connection = connection = get_connection()
    try:
        # Apart, because whatever goes wrong before there is a connection, nothing has left.
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        return _not_now(run, "could not be reached", error)
    try:
        message.send()
    except NOT_SENT as error:
        return _not_now(run, "refused", error)
    except Exception as error:
        logger.exception("a report's mail is in an unknown state", extra={"report_run": str(run.pk)})
        told = f"The connection to the {_server()} broke: {cause_of(error)}. The mail may have left."
        return _conclude(run, MailStatus.UNKNOWN, told)
    finally:
        with contextlib.suppress(Exception):
            connection.close()
    return _conclude(
        run,
        MailStatus.SENT,
        f"Sent to {', '.join(recipients)}."
        + (f" Left out, because they may not read it: {', '.join(left_out)}." if left_out else ""),
    )


def _not_now(run: ReportRun, what: str, error: Exception) -> str:
    """Nothing has left: later once more, unless this was the last try."""
    last = run.mail_attempt >= MAX_ATTEMPTS
    told = f"The {_server()} {what}: {cause_of(error)}."
    return _conclude(run, MailStatus.FAILED if last else MailStatus.WAITING, told)


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


def _conclude(run: ReportRun, status: MailStatus, note: str) -> str:
    delay = RETRY_DELAYS_SECONDS[min(run.mail_attempt, len(RETRY_DELAYS_SECONDS)) - 1]
    again = clock.now() + timedelta(seconds=delay) if status == MailStatus.WAITING else None
    with context.acting(source="system"), place_scope(run.tenant_id):
        ReportRun.objects.filter(pk=run.pk, mail_status=MailStatus.SENDING, mail_attempt=run.mail_attempt).update(
            mail_status=status, mail_note=note[:1000], run_after=again, lease_expires_at=None
        )
        record_event(
            action="REPORT_MAILED" if status == MailStatus.SENT else "REPORT_NOT_MAILED",
            resource_type="report_runs",
            resource_id=run.pk,
            tenant_id=run.tenant_id,
            details={"status": str(status), "note": note},
        )
    return str(status)


def give_up_on_the_unknown() -> int:
    """Mails whose sender is gone: whether they left is for a person to find out. How many."""
    with platform_scope():
        return ReportRun.objects.filter(mail_status=MailStatus.SENDING, lease_expires_at__lt=clock.now()).update(
            mail_status=MailStatus.UNKNOWN, mail_note="The worker that sent it is gone. It may have left or not."
        )
