"""Reports as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Self

from core.answers import Answer, PageAnswer
from core.reports import Report

from .documents import Manifest, ReportParameters, manifest_of, parameters_of
from .models import ReportRun
from .services import Verdict


class ColumnOut(Answer):
    """``type``: text, time, integer, decimal or boolean."""

    name: str
    label: str
    type: str


class ReportOut(Answer):
    """``has_period`` false: it shows how things are now."""

    name: str
    title: str
    answers: str
    note: str
    has_period: bool
    columns: list[ColumnOut]

    @classmethod
    def of(cls, report: Report) -> Self:
        return cls(
            name=report.name,
            title=report.title,
            answers=report.answers,
            note=report.note,
            has_period=report.has_period,
            columns=[ColumnOut(name=c.name, label=c.label, type=c.kind) for c in report.columns],
        )


class ReportList(Answer):
    reports: list[ReportOut]


class MailOut(Answer):
    """``to`` are addresses, ``note`` says what became of the mail."""

    status: str
    to: list[str]
    note: str


class ReportRunOut(Answer):
    """``tenant_id`` null: the platform's. ``rows`` so far, while it is being made. ``bytes`` is the file's size."""

    id: uuid.UUID
    report: str
    tenant_id: uuid.UUID | None
    format: str
    status: str
    error: str
    parameters: ReportParameters
    as_of: datetime
    rows: int
    bytes: int | None
    sha256: str
    has_file: bool
    manifest: Manifest | None
    mail: MailOut | None
    requested_by: str | None
    schedule_id: uuid.UUID | None
    operation_id: uuid.UUID | None
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, run: ReportRun) -> Self:
        mail = MailOut(status=run.mail_status, to=run.mail_to, note=run.mail_note) if run.mail_to else None
        return cls(
            id=run.pk,
            report=run.report,
            tenant_id=run.tenant_id,
            format=run.format,
            status=run.status,
            error=run.error,
            parameters=parameters_of(run.params),
            as_of=run.as_of,
            rows=run.rows if run.rows is not None else run.progress_done,
            bytes=run.size_bytes,
            sha256=run.sha256,
            has_file=bool(run.file_name),
            manifest=manifest_of(run.manifest),
            mail=mail,
            requested_by=run.requested_by.email if run.requested_by else None,
            schedule_id=run.schedule_id,
            operation_id=run.operation_id,
            created_at=run.created_at,
            ended_at=run.ended_at,
        )


class ReportRunList(PageAnswer):
    runs: list[ReportRunOut]


class ReportRunAnswer(Answer):
    run: ReportRunOut

    @classmethod
    def of(cls, run: ReportRun) -> Self:
        return cls(run=ReportRunOut.of(run))


class VerdictOut(Answer):
    """SHA-256 of the file now, and as the manifest and the trail say; ``holds``: all three are the same."""

    holds: bool
    file: str
    manifest: str
    trail: str

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        return cls(holds=verdict.holds, file=verdict.found, manifest=verdict.manifest, trail=verdict.trail)
