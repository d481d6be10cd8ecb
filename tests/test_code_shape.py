"""What a reader meets: sizes, branches and circles are held where they are, so that they only get better."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles

import grimp
from radon.complexity import cc_visit

from .test_layers import LAYERS, ROOT

PACKAGES = LAYERS
#: Radon's grade C begins at a complexity of 11.
GRADE_C = 11
MOST_BLOCKS_OF_GRADE_C = 60
MOST_PARAMETERS = 7
#: Django wants its models and handlers imported here, once the apps are loaded.
IMPORTS_LATE = {"apps.py"}
MOST_LATE_IMPORTS = 20


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts):
                yield path


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sources()}


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short() -> None:
    sizes = [lines_of(node) for _, node in functions()]
    cuts = quantiles(sizes, n=100)
    assert (median(sizes) <= 7, cuts[89] <= 24, cuts[98] <= 45) == (True, True, True), (
        median(sizes),
        cuts[89],
        cuts[98],
    )


def test_files_are_short() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert quantiles(sizes.values(), n=10)[8] <= 280
    assert {path: size for path, size in sizes.items() if size > 433} == {}


def test_functions_take_few_parameters() -> None:
    crowded = []
    for path, node in functions():
        taken = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
        if len([name for name in taken if name not in ("self", "cls")]) > MOST_PARAMETERS:
            crowded.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert crowded == []


def test_few_blocks_have_many_branches() -> None:
    branchy = []
    for path in sources():
        for block in cc_visit(path.read_text()):
            for part in (block, *getattr(block, "methods", ())):
                if part.complexity >= GRADE_C:
                    branchy.append(f"{path.relative_to(ROOT)}:{part.lineno} {part.name} ({part.complexity})")
    found = sorted(set(branchy))
    assert len(found) <= MOST_BLOCKS_OF_GRADE_C, "\n".join(found)


def test_few_imports_hide_inside_functions() -> None:
    hidden = []
    for path, node in functions():
        if path.name in IMPORTS_LATE:
            continue
        hidden += [
            f"{path.relative_to(ROOT)}:{inner.lineno}"
            for inner in ast.walk(node)
            if isinstance(inner, ast.Import | ast.ImportFrom)
        ]
    assert len(set(hidden)) <= MOST_LATE_IMPORTS, "\n".join(sorted(set(hidden)))


def imports() -> dict[str, set[str]]:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    wanted = {name for name in graph.modules if not {"tests", "migrations"} & set(name.split("."))}
    return {name: set(graph.find_modules_directly_imported_by(name)) & wanted for name in sorted(wanted)}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected parts with more than one module, after Tarjan (1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            part = [stack.pop()]
            while part[-1] != name:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for name in edges:
        if name not in order:
            visit(name)
    return found


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for type checking count as well: whoever reads one module needs the other."""
    assert circles(imports()) == []
