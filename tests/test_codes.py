"""Each code that a person can meet is raised somewhere and shown with its way out; `docs/guide/codes.md` lists them.

The page is written by `OPSCONSOLE_WRITE_GUIDE=1 script/test tests/test_codes.py`, and held to the code by this test.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from core.errors import OpsError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/guide/codes.md"
#: Those of the operators' runbook, in its words (its appendix). A test names each.
RUNBOOK = {
    "PROMO_001": "Pre-promotion snapshot creation failed",
    "PROMO_002": "Workflow update failed during promotion",
    "PROMO_003": "Conflict policy violation (active drift blocks promotion)",
    "PROMO_004": "Target environment locked (concurrent promotion)",
    "PROMO_005": "Rollback failed - partial state",
    "SNAP_001": "Snapshot creation failed (Git push error)",
    "SNAP_002": "Snapshot retrieval failed (missing from Git)",
    "REST_001": "Restore preview failed (workflow not found)",
    "REST_002": "Restore execution failed (API timeout)",
    "REST_003": "Workflow create/update failed (404 in target)",
    "DRIFT_001": "Drift detection failed (environment unreachable)",
    "DRIFT_002": "Stabilization failed (workflow update error)",
    "DRIFT_003": "Reconciliation failed (Git commit error)",
    "DRIFT_004": "TTL expired but drift unresolvable",
    "IMP_001": "Impersonation blocked (target is platform admin)",
    "IMP_002": "Nested impersonation prevented",
    "IMP_003": "Session not found (expired or invalid)",
    "IMP_004": "Unauthorized audit log access",
    "DB_001": "Tenant isolation violation detected",
    "DB_002": "Foreign key constraint violation",
    "DB_003": "Unique constraint violation",
    "DB_004": "Connection pool exhausted",
}
SHOWN_EACH = 2
ROW = re.compile(r"^\| (\w+) \| ([^|]*) \| ((?:[^|]|\\\|)*) \| ([^|]*) \| ([^|]*) \|$", re.M)


def kinds(parent: type[OpsError] = OpsError) -> Iterator[type[OpsError]]:
    for kind in parent.__subclasses__():
        yield kind
        yield from kinds(kind)


@cache
def by_code() -> dict[str, list[type[OpsError]]]:
    for path in files():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if "OpsError" in text(path) and module not in sys.modules and "migrations" not in module:
            importlib.import_module(module)
    found: dict[str, list[type[OpsError]]] = {}
    for kind in sorted(set(kinds()), key=lambda kind: (kind.__module__, kind.__name__)):
        if "tests" not in kind.__module__:
            found.setdefault(kind.code, []).append(kind)
    return dict(sorted(found.items()))


@cache
def text(path: Path) -> str:
    return path.read_text()


@cache
def files(*, tests: bool = False) -> list[Path]:
    tops = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("sandbox", "benchmarks")]
    every = sorted(path for top in tops for path in top.rglob("*.py"))
    return [path for path in every if ("tests" in path.relative_to(ROOT).parts) == tests]


def places(words: list[str], among: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in among if not words_of(path).isdisjoint(words)]


@cache
def words_of(path: Path) -> set[str]:
    return set(re.findall(r"\w+", text(path)))


def raised_in(code: str) -> list[str]:
    """Modules that name one of its classes, apart from those that define or only export it."""
    own = {Path(*kind.__module__.split(".")).with_suffix(".py") for kind in by_code()[code]}
    found = places([kind.__name__ for kind in by_code()[code]], files())
    elsewhere = [name for name in found if Path(name) not in own and not name.endswith("__init__.py")]
    return elsewhere or [name for name in found if f"raise {by_code()[code][0].__name__}" in text(ROOT / name)]


def checked_by(code: str) -> list[str]:
    names = [code, *(kind.__name__ for kind in by_code()[code])]
    return [name for name in places(names, files(tests=True)) if name != "tests/test_codes.py"]


def page() -> str:
    rows = "\n".join(_row(code) for code in by_code())
    words = "\n".join(f"| {code} | {word} | {by_code()[code][0].title} |" for code, word in RUNBOOK.items())
    return f"""# What each code means

A failure that a person can meet has a code, a sentence and a way out, the same on pages, in the API and in the rows of
jobs. Written from the code by `OPSCONSOLE_WRITE_GUIDE=1 script/test tests/test_codes.py`.

## Those of the disaster recovery runbook

| code | in the runbook | here |
|---|---|---|
{words}

## All of them

| code | what happened | way out | raised in | tested by |
|---|---|---|---|---|
{rows}
"""


def _row(code: str) -> str:
    kind = by_code()[code][0]
    return f"| {code} | {kind.title} | {_cell(kind.recovery)} | {_list(raised_in(code))} | {_list(checked_by(code))} |"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def _list(names: list[str]) -> str:
    return ", ".join(f"`{name.removesuffix('.py')}`" for name in names[:SHOWN_EACH])


def test_every_code_is_raised_and_has_a_way_out() -> None:
    lost = [code for code in by_code() if not raised_in(code)]
    assert lost == [], "nothing raises them"
    mute = [code for code, found in by_code().items() if not all(kind.recovery.strip() for kind in found)]
    assert mute == []


def test_every_code_of_the_runbook_is_tested() -> None:
    assert set(RUNBOOK) <= set(by_code())
    assert [code for code in RUNBOOK if not checked_by(code)] == []


def test_the_page_lists_them_as_they_are() -> None:
    if os.environ.get("OPSCONSOLE_WRITE_GUIDE"):
        PAGE.write_text(page())
    rows = {row[0]: row[1:] for row in ROW.findall(PAGE.read_text().partition("## All of them")[2]) if row[0] != "code"}
    assert sorted(rows) == sorted(by_code()), "OPSCONSOLE_WRITE_GUIDE=1 script/test tests/test_codes.py"
    for code, (title, way_out, raised, tested) in rows.items():
        kind = by_code()[code][0]
        assert (title, way_out) == (kind.title, _cell(kind.recovery)), code
        for told, true in ((raised, raised_in(code)), (tested, checked_by(code))):
            modules = {name.removesuffix(".py") for name in true}
            assert set(re.findall(r"`([^`]+)`", told)) <= modules, (code, told)
            assert bool(told.strip()) == bool(modules), (code, "has a place now, or none any more")


def test_every_code_has_a_test() -> None:
    untried = [code for code in by_code() if not checked_by(code)]
    assert untried == [], "write a test that meets them and reads what is said, or take them away"
