"""Reports that were requested, with file and manifest, and the schedules that request them.

``tenant`` is empty where the report is the platform's: row-level security shows those rows to the platform alone. A
job makes a report and sends it (docs/adr/0013); people see the run.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from operations.models import Schedule
from tenants.models import Tenant, User


class Format(models.TextChoices):
    CSV = "csv", "CSV"
    JSONL = "jsonl", "JSON Lines"
    XLSX = "xlsx", "Excel (XLSX)"
    HTML = "html", "Printable page (HTML)"


class RunStatus(models.TextChoices):
    PENDING = "PENDING", "Queued"
    RUNNING = "RUNNING", "Running"
    RETRY_PENDING = "RETRY_PENDING", "Retry pending"
    COMPLETED = "COMPLETED", "Ready"
    FAILED = "FAILED", "Failed"


class MailStatus(models.TextChoices):
    """What became of the mail. SENDING that outlives its worker becomes UNKNOWN: it is not sent twice unasked."""

    NONE = "", "None"
    WAITING = "WAITING", "Queued"
    SENDING = "SENDING", "Sending"
    SENT = "SENT", "Sent"
    UNKNOWN = "UNKNOWN", "Possibly sent"
    FAILED = "FAILED", "Not sent"


class Frequency(models.TextChoices):
    DAILY = "daily", "Every day"
    WEEKLY = "weekly", "Every Monday"
    MONTHLY = "monthly", "On the first of the month"


class Period(models.TextChoices):
    """Whole days, weeks and months in UTC that have ended; or the days up to now."""

    DAY = "day", "Yesterday"
    WEEK = "week", "Last week (Monday to Sunday)"
    MONTH = "month", "Last month"
    DAYS_90 = "90-days", "Last 90 days"


class ReportSchedule(models.Model):
    """A report of a tenant, or of the platform, that is made and mailed regularly."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, blank=True, related_name="+", db_index=False)
    report = models.CharField(max_length=48)
    format = models.CharField(max_length=8, choices=Format.choices)
    period = models.CharField(max_length=12, choices=Period.choices, blank=True)
    params = models.JSONField(default=dict, help_text="What it is narrowed to: person, tenant.")
    recipients = models.JSONField(default=list, help_text="Addresses; who may not read it gets nothing.")
    frequency = models.CharField(max_length=8, choices=Frequency.choices)
    hour = models.PositiveSmallIntegerField(default=6, help_text="UTC.")
    #: When it is due, and whether it is on.
    timer = models.OneToOneField(Schedule, models.CASCADE, related_name="+")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "report_schedules"
        indexes = [
            models.Index(fields=["tenant", "-created_at"], name="report_schedules_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.report}, {self.get_frequency_display().lower()}"


class ReportRun(models.Model):
    """One report: requested, made into a file, kept for a while. The manifest outlives the file.

    Until the file is there, ``status``, ``error``, ``fence``, ``attempt``, ``run_after`` and the progress follow the
    run's job: a trigger copies them (see the migration), whoever changes the job.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, blank=True, related_name="+", db_index=False)
    schedule = models.ForeignKey(ReportSchedule, models.SET_NULL, null=True, blank=True, related_name="runs")
    operation_id = models.UUIDField(null=True, blank=True, help_text="The job that makes or sends it; the last one.")
    report = models.CharField(max_length=48)
    format = models.CharField(max_length=8, choices=Format.choices)
    params = models.JSONField(default=dict)
    as_of = models.DateTimeField(help_text="Nothing later is in it.")
    requested_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    context = models.JSONField(default=dict, help_text="Who asked, through which door.")

    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.PENDING)
    error = models.TextField(blank=True)
    fence = models.IntegerField(default=0)
    attempt = models.IntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: the operation has the lease.")
    run_after = models.DateTimeField(null=True, blank=True)
    progress_done = models.BigIntegerField(default=0, help_text="Rows so far.")

    rows = models.BigIntegerField(null=True, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    file_name = models.CharField(max_length=120, blank=True, help_text="Empty once the file was removed.")
    manifest = models.JSONField(null=True, blank=True)

    mail_status = models.CharField(max_length=8, choices=MailStatus.choices, blank=True, default=MailStatus.NONE)
    mail_to = models.JSONField(default=list, blank=True)
    mail_attempt = models.IntegerField(default=0)
    mail_note = models.TextField(blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "report_runs"
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="report_runs_tenant"),
            models.Index(fields=["tenant", "schedule"], name="report_runs_schedule"),
            models.Index(fields=["operation_id"], name="report_runs_operation"),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["PENDING", "RUNNING", "RETRY_PENDING"])
                | Q(mail_status__in=["WAITING", "SENDING"]),
                name="report_runs_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.report} of {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_open(self) -> bool:
        return self.status in (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.RETRY_PENDING)
