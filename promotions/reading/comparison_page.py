"""The page that compares two environments: what was asked for, and one page of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, QueryDict

from core.errors import OpsError
from core.paging import decode, encode
from promotions.planning.options import SourceVersion
from tenants.pages import Visit
from workflows.models import Environment
from workflows.permissions import may_operate

from . import presenters
from .comparison import ComparisonRow, compare

ROWS_ON_A_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which environments are compared, in which version, and which rows of it are shown.

    ``chosen`` are the keys picked so far. ``target`` is None where it is the source.
    """

    source: Environment | None
    target: Environment | None
    version: SourceVersion
    chosen: frozenset[str]
    state: str
    query: str
    cursor: str

    @classmethod
    def of(cls, request: HttpRequest, environments: Sequence[Environment]) -> Question:
        given = request.POST if request.method == "POST" else request.GET
        source, target = _pair(given, environments)
        is_draft = given.get("version") == SourceVersion.DRAFT
        return cls(
            source=source,
            target=target,
            version=SourceVersion.DRAFT if is_draft else SourceVersion.PUBLISHED,
            chosen=_chosen(request),
            state=request.GET.get("state", ""),
            query=request.GET.get("q", ""),
            cursor=request.GET.get("cursor", ""),
        )

    def context(self) -> dict[str, Any]:
        return {"source": self.source, "target": self.target, "version": self.version, "chosen": self.chosen}

    def shows(self, row: ComparisonRow) -> bool:
        return self._finds(row) and self._has_state(row)

    def _finds(self, row: ComparisonRow) -> bool:
        words = self.query.strip().casefold()
        return not words or words in row.name.casefold() or words in row.key

    def _has_state(self, row: ComparisonRow) -> bool:
        if self.state == "drifted":
            return row.target_drifted
        if not self.state:
            return row.state in presenters.DIFFERENT
        return self.state in ("all", row.state)


def _pair(given: QueryDict, environments: Sequence[Environment]) -> tuple[Environment | None, Environment | None]:
    by_slug = {e.slug: e for e in environments} | {str(e.pk): e for e in environments}
    source, target = by_slug.get(given.get("source", "")), by_slug.get(given.get("target", ""))
    if source is None and target is None and len(environments) >= 2 and "source" not in given:
        # The usual way: from the last but one in the pipeline into the last.
        return environments[-2], environments[-1]
    return source, None if source is not None and source == target else target


def _chosen(request: HttpRequest) -> frozenset[str]:
    """Keys picked so far: by the form, or handed over from the matrix as ``keys=a,b``."""
    if request.method == "POST":
        return frozenset(request.POST.getlist("selected"))
    handed = [key for key in request.GET.get("keys", "").split(",") if key]
    return frozenset((*request.GET.getlist("selected"), *handed))


def comparison(visit: Visit, asked: Question) -> dict[str, Any]:
    """One page of the comparison; choices made on other pages of it are kept as hidden fields.

    Only ``error`` where the two cannot be compared.
    """
    source, target = asked.source, asked.target
    assert source is not None and target is not None  # noqa: S101 -- there is no comparison without both
    try:
        compared = compare(tenant_id=visit.tenant.pk, source_id=source.pk, target_id=target.pk, version=asked.version)
    except OpsError as error:
        return {"error": error}
    rows = [row for row in compared.rows if asked.shows(row)]
    start = _offset(rows, asked.cursor)
    shown = rows[start : start + ROWS_ON_A_PAGE]
    has_more = start + ROWS_ON_A_PAGE < len(rows)
    blocking = presenters.blocked_by_drift(compared)
    return {
        "comparison": compared,
        "counts": compared.counts,
        "rows": presenters.compare_rows(visit, shown, source, target, blocked=blocking.keys),
        "total": len(rows),
        "state": asked.state,
        "query": asked.query,
        "kept": sorted(asked.chosen - {row.key for row in shown}),
        "next_cursor": encode([shown[-1].name, shown[-1].key]) if has_more else "",
        "blocking": blocking,
        "may_operate": may_operate(visit, target),
    }


def _offset(rows: Iterable[ComparisonRow], cursor: str) -> int:
    """How many rows come before the cursor's."""
    if not cursor:
        return 0
    name, key = decode(cursor, 2)
    last = (str(name).casefold(), str(key))
    return sum((row.name.casefold(), row.key) <= last for row in rows)
