"""What a job that ended well has come to, in a sentence and with the way to what it made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, Func, IntegerField, JSONField, QuerySet, Value, When
from django.db.models.lookups import LessThan

from .handlers import handler_for
from .models import Operation, OperationStatus

#: A result of more bytes is left unread where many jobs are told of at once.
RESULT_READ = 64_000


@dataclass(frozen=True, slots=True)
class JobLink:
    """A page of what a job made or changed: ``page`` is the name of its address, ``key`` what stands in it."""

    label: str
    page: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One sentence that ends with a full stop, and links in the order in which a person wants them.

    ``brief`` is the sentence in a few words, for a line that has said already what was done: “24 workflows”.
    """

    sentence: str
    links: tuple[JobLink, ...] = ()
    brief: str = ""


def summary_of(operation: Operation) -> JobSummary | None:
    """What its kind says of a completed job; None for a kind that says nothing, or a job that came to nothing.

    A kind says it by a method ``summary(result)`` of its handler. Results outlive releases: what an older one lacks
    is left out.
    """
    if operation.status != OperationStatus.COMPLETED or not isinstance(operation.result, dict):
        return None
    tell: Any = getattr(handler_for(operation.kind), "summary", None)
    return tell(operation.result) if tell is not None else None


def with_small_results(jobs: QuerySet[Operation]) -> QuerySet[Operation]:
    """The same jobs without parameters, ready for ``small_summary_of``."""
    size = Func(F("result"), function="pg_column_size", output_field=IntegerField())
    small = Case(When(LessThan(size, Value(RESULT_READ)), then=F("result")), output_field=JSONField())
    return jobs.defer("params", "result").annotate(small_result=small)


def small_summary_of(job: Operation) -> JobSummary | None:
    """As ``summary_of``, of a job that was read ``with_small_results``; None where its result is large."""
    job.result = vars(job)["small_result"]
    return summary_of(job)
