"""The reports that the apps declare (``core.reports``), and the parameters that one is asked for with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.utils.dateparse import parse_date, parse_datetime
from msgspec import UNSET

from core.errors import Invalid
from core.registry import registry
from core.reports import Report

from .documents import ReportParameters
from .errors import NoSuchReport
from .models import Period

DEFAULT_DAYS = 90


@dataclass(frozen=True, slots=True)
class Asked:
    """The resolved parameters of one report: with the same ``as_of`` they find the same rows again."""

    as_of: datetime
    since: datetime
    until: datetime
    person: str = ""
    tenant: str = ""

    def stored(self, report: Report) -> ReportParameters:
        """What is kept of them, next to ``as_of``: only what the report takes."""
        period = {"since": self.since.isoformat(), "until": self.until.isoformat()} if report.has_period else {}
        return ReportParameters(**period, person=self.person or UNSET, tenant=self.tenant or UNSET)

    @classmethod
    def of(cls, stored: ReportParameters, as_of: datetime) -> Asked:
        """What was stored as ``stored``, with ``as_of``."""
        return cls(
            as_of=as_of,
            since=datetime.fromisoformat(stored.since) if stored.since else as_of - timedelta(days=DEFAULT_DAYS),
            until=datetime.fromisoformat(stored.until) if stored.until else as_of,
            person=stored.person or "",
            tenant=stored.tenant or "",
        )


def settle(
    *, as_of: datetime, since: str = "", until: str = "", period: str = "", person: str = "", tenant: str = ""
) -> Asked:
    """Resolve parameters as people give them. Raises ``Invalid`` with the field that cannot be used.

    ``since`` and ``until`` are ISO dates or moments (a date as ``until`` includes its day) and win over ``period``;
    without either it is the last 90 days. Nothing later than ``as_of`` is ever in a report.
    """
    if period and period not in Period.values:
        raise Invalid(details={"period": f"one of {', '.join(Period.values)}"})
    first, last = span(period or Period.DAYS_90, as_of)
    if since or until:
        first, last = as_of - timedelta(days=DEFAULT_DAYS), as_of
        last = min(moment_of(until, "until", end=True), as_of) if until else last
        try:
            first = moment_of(since, "since") if since else min(first, last - timedelta(days=DEFAULT_DAYS))
        except OverflowError as error:  # nothing comes before the first of all years
            raise Invalid("`until` is too early.", details={"until": until[:40]}) from error
    if first >= last:
        raise Invalid("The period ends before it begins.", details={"since": "before `until` and before now"})
    return Asked(as_of=as_of, since=first, until=last, person=person.strip()[:254], tenant=tenant.strip()[:48])


def span(period: str, moment: datetime) -> tuple[datetime, datetime]:
    """The last whole day, week or month before ``moment``, in UTC; or the 90 days up to it."""
    today = datetime.combine(moment.astimezone(UTC).date(), time.min, UTC)
    if period == Period.DAY:
        return today - timedelta(days=1), today
    if period == Period.WEEK:
        monday = today - timedelta(days=today.weekday())
        return monday - timedelta(days=7), monday
    if period == Period.MONTH:
        first = today.replace(day=1)
        return (first - timedelta(days=1)).replace(day=1), first
    return moment - timedelta(days=DEFAULT_DAYS), moment


def moment_of(value: str, name: str, *, end: bool = False) -> datetime:
    try:
        day = parse_date(value)
        moment = parse_datetime(value) if day is None else datetime.combine(day, time.min)
        if moment is None:
            raise ValueError(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + timedelta(days=1) if end and day is not None else moment
    except (ValueError, OverflowError) as error:
        raise Invalid(f"`{name}` must be a date or a time in ISO form.", details={name: value[:40]}) from error


def all_reports() -> list[Report]:
    """Every report that the apps declare, in the order of the list."""
    return list(registry.reports().values())


def report_named(name: str) -> Report:
    """The report; raises ``NoSuchReport``."""
    try:
        return registry.reports()[name]
    except KeyError:
        raise NoSuchReport(details={"reports": sorted(registry.reports())}) from None
