"""Names that are stored outlive the code: each is an explicit string, and none disappears unnoticed."""

from __future__ import annotations

import ast

from .stored_names import declared_names, listed, sources, written_names

#: Not names that are stored: which file a view comes from, for people.
SAYS_WHERE = {"core/support_rules.py", "impersonation/routes.py"}
MADE_OF_CODE = {"__module__", "__qualname__", "__name__"}
#: What stored names are declared by, or given to.
NAMING = {
    "Consumer",
    "EventType",
    "InTransactionHandler",
    "StepHandler",
    "PeriodicTask",
    "step",
    "Effect",
    "set_schedule",
    "start",
    "shared_task",
}


def test_no_stored_name_has_disappeared() -> None:
    """Jobs wait under it, messages carry it, cursors stand by it: whoever renames it reads the old one as well."""
    gone = set(listed()) - declared_names() - written_names()
    assert not gone, f"stored names that the code no longer has: {sorted(gone)}"


def test_every_stored_name_is_on_the_list() -> None:
    new = (declared_names() | written_names()) - set(listed())
    assert not new, f"run python -m tests.stored_names to add: {sorted(new)}"


def test_the_list_is_sorted_and_says_each_once() -> None:
    names = listed()
    assert names == sorted(set(names))
    assert len(names) > 100
    assert "step {}:told:{}" in names and "step handler drift.detection.captured" in names


def test_no_stored_name_is_made_of_the_names_of_code() -> None:
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in {"__module__", "__qualname__"}:
                found += [path] if path not in SAYS_WHERE else []
            if isinstance(node, ast.Call) and _called(node) in NAMING:
                inner = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
                inner |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
                found += [f"{path}:{node.lineno}"] if inner & MADE_OF_CODE else []
    assert found == []


def test_every_celery_task_says_its_name() -> None:
    """Without one, Celery makes it of the module's."""
    silent = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if "shared_task" in ast.dump(decorator)
        if not (isinstance(decorator, ast.Call) and any(keyword.arg == "name" for keyword in decorator.keywords))
    ]
    assert silent == []


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
