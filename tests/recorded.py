"""Which actions the code records in the trail, read off its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACTION = re.compile(r"[A-Z]+(_[A-Z]+)*|[a-z]+\.[a-z_]+")
#: What appends to the trail. Functions of a module that hand their own ``action`` on to these are found by themselves.
RECORDERS = {"record_event", "Event", "record_session_event", "record_own_event"}


def recorded_actions() -> dict[str, str]:
    """Each action that is recorded somewhere, with the file that does it."""
    trees = {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for path in sorted(ROOT.glob("*/**/*.py"))
        if (ROOT / path.relative_to(ROOT).parts[0] / "console.py").exists()
        and not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
    }
    known = RECORDERS | {name for tree in trees.values() for name in _passing_on(tree)}
    found: dict[str, str] = {}
    for path, tree in trees.items():
        found |= dict.fromkeys(_of_module(tree, known), path)
    return found


def _functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _passing_on(tree: ast.Module) -> Iterator[str]:
    """Functions that record the action that they are given."""
    for function in _functions(tree):
        takes_one = any(argument.arg == "action" for argument in (*function.args.args, *function.args.kwonlyargs))
        if takes_one and any(_recorder(call) in RECORDERS for call in _calls(function)):
            yield function.name


def _of_module(tree: ast.Module, known: set[str] | frozenset[str]) -> Iterator[str]:
    for scope in (*_functions(tree), tree):
        for call in _calls(scope):
            if _recorder(call) in known and (said := _action(call)) is not None:
                yield from _constants(said, (scope, tree), depth=3)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Call))


def _recorder(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _action(call: ast.Call) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == "action"), None)
    return named if named is not None else call.args[0] if call.args else None


def _constants(node: ast.AST, scopes: tuple[ast.AST, ...], *, depth: int) -> Iterator[str]:
    """The texts that an expression can come to, through the names that it uses."""
    asides = [one.test for one in ast.walk(node) if isinstance(one, ast.IfExp)]
    asides += [key for one in ast.walk(node) if isinstance(one, ast.Dict) for key in one.keys if key is not None]
    left_out = {id(inner) for aside in asides for inner in ast.walk(aside)}
    for one in ast.walk(node):
        if id(one) in left_out:
            continue
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and ACTION.fullmatch(one.value):
            yield one.value
        elif isinstance(one, ast.Name) and depth:
            for value in _assigned(one.id, scopes):
                yield from _constants(value, scopes, depth=depth - 1)


def _assigned(name: str, scopes: tuple[ast.AST, ...]) -> Iterator[ast.expr]:
    for scope in scopes:
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    # ``action, code = "REFUSED", refused``: the place in the tuple counts.
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        pairs = zip(target.elts, node.value.elts, strict=False)
                        yield from (value for one, value in pairs if isinstance(one, ast.Name) and one.id == name)
                    elif isinstance(target, ast.Name) and target.id == name:
                        yield node.value
