"""Every name that is stored and so outlives the code that wrote it, read off the registry and off the source.

``python -m tests.stored_names`` writes them to ``durable_names.txt``.
"""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("durable_names.txt")
#: Calls whose first argument names a step.
STEPS = {"step", "Effect"}
DEPTH = 3


def apps() -> list[Path]:
    return sorted(path.parent for path in ROOT.glob("*/console.py"))


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Path and tree of every module of the product."""
    for app in apps():
        for path in sorted(app.glob("**/*.py")):
            if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts):
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def declared_names() -> set[str]:
    """What the registry, the engine and Celery know. Needs Django."""
    from core.registry import registry
    from operations.handlers import known_kinds
    from opsconsole.celery import app

    app.loader.import_default_modules()
    found = {f"job kind {kind}" for kind in known_kinds() if not kind.startswith("test.")}
    found |= {f"Celery task {name}" for name in app.tasks if not name.startswith(("celery.", "tests."))}
    found |= {f"beat entry {task.name}" for task in registry.periodic_tasks()}
    found |= {f"event {event.name} v{event.version}" for event in registry.event_types().values()}
    found |= {f"consumer {name}" for name in registry.consumers()}
    for kind in ("in_transaction_handlers", "step_handlers"):
        found |= {f"{kind.replace('_', ' ').removesuffix('s')} {handler.name}" for _, handler in registry.every(kind)}
    return found


def written_names() -> set[str]:
    """Names of steps and of schedules, as the source writes them; ``{}`` stands where something is put in."""
    found: set[str] = set()
    for _path, tree in sources():
        found |= {f"step {name}" for name in _first_arguments(tree, STEPS) if name.strip("{}:") and " " not in name}
        found |= {f"schedule {name}" for name in _schedules(tree)}
    return found


def _functions(tree: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _first_arguments(tree: ast.Module, called: set[str]) -> Iterator[str]:
    for scope in (*_functions(tree), tree):
        for call in _calls(scope):
            if call.args and _name(call.func) in called:
                yield from _texts(call.args[0], (scope, tree), DEPTH)


def _schedules(tree: ast.Module) -> Iterator[str]:
    for scope in (*_functions(tree), tree):
        for call in _calls(scope):
            if _name(call.func) in ("set_schedule", "Schedule"):
                for keyword in call.keywords:
                    if keyword.arg == "name":
                        yield from _texts(keyword.value, (scope, tree), DEPTH)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Call))


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _texts(node: ast.expr, scopes: tuple[ast.AST, ...], depth: int) -> Iterator[str]:
    """What an expression can come to, through local names, constants of the module and functions in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(_in_text(part) for part in node.values)
    elif (shared := constants().get(_name(node))) is not None:
        yield shared
    elif isinstance(node, ast.Subscript):
        yield from _texts(node.value, scopes, depth)
    elif isinstance(node, ast.IfExp):
        yield from (text for branch in (node.body, node.orelse) for text in _texts(branch, scopes, depth))
    elif depth and isinstance(node, ast.Name):
        for scope in scopes:
            for value in _assigned(node.id, scope):
                yield from _texts(value, scopes, depth - 1)
    elif depth and isinstance(node, ast.Call):
        for function in ast.walk(scopes[-1]):
            if isinstance(function, ast.FunctionDef) and function.name == _name(node.func):
                for returned in ast.walk(function):
                    if isinstance(returned, ast.Return) and returned.value is not None:
                        yield from _texts(returned.value, (function, scopes[-1]), depth - 1)


def _in_text(part: ast.expr) -> str:
    """A part of an f-string: what it says, a constant's text, or ``{}``."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    return constants().get(_name(part.value), "{}") if isinstance(part, ast.FormattedValue) else "{}"


@functools.cache
def constants() -> dict[str, str]:
    """Texts that modules keep under a name in capitals, where it means the same everywhere."""
    found: dict[str, set[str]] = {}
    for _path, tree in sources():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id.isupper() and isinstance(node.value.value, str):
                        found.setdefault(target.id, set()).add(node.value.value)
    return {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


def _assigned(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                yield node.value


def listed() -> list[str]:
    return [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]


HEAD = """\
# Names that are stored: in jobs that wait, in messages, in cursors. One that disappears from the code fails a test; a
# new one is added here (python -m tests.stored_names). Where one must go, say in the commit what reads the old.
"""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    import django

    django.setup()
    LIST.write_text(HEAD + "\n".join(sorted(declared_names() | written_names())) + "\n")


if __name__ == "__main__":
    main()
