"""What a diff costs: the text and the graph of large workflows, beside a plain comparison and line diffs of the JSON.

    script/bench diffs [--rounds 7]

Workflows are made here: one of a megabyte of code, one of 400 nodes. Every way compares the same two versions in the
same run; pages are measured through the server's own rendering, without network.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import orjson

from .setup import save, table

Flow = dict[str, Any]
MEGABYTE = 1_000_000


def large(nodes: int, lines: int) -> Flow:
    """A workflow of code nodes in rows, each with this many lines."""
    made = [
        {
            "id": str(number),
            "name": f"Collect the orders of region {number}",
            "type": "n8n-nodes-base.code" if number % 3 else "@n8n/n8n-nodes-langchain.agent",
            "typeVersion": 2,
            "position": [number % 25 * 220, number // 25 * 160],
            "parameters": {"jsCode": "\n".join(_line(number, line) for line in range(lines))},
        }
        for number in range(nodes)
    ]
    names = [node["name"] for node in made]
    links = {
        name: {"main": [[{"node": names[target], "type": "main", "index": 0} for target in _next(number, nodes)]]}
        for number, name in enumerate(names)
    }
    return {"name": "Large", "nodes": made, "connections": links, "settings": {}, "active": False, "tags": []}


def _line(number: int, line: int) -> str:
    return f"const total{line} = items[{line}].json.amount * {number}; // of line {line}"


def _next(number: int, nodes: int) -> list[int]:
    return [other for other in (number + 1, number + 7) if other < nodes and (other == number + 1 or number % 5 == 0)]


def edited(flow: Flow, every: int) -> Flow:
    """One line of every so many nodes changed, one node moved, one taken, one new."""
    after = copy.deepcopy(flow)
    for node in after["nodes"][::every]:
        code = node["parameters"]["jsCode"]
        node["parameters"]["jsCode"] = code.replace("total3 ", "sum3 ", 1)
    after["nodes"][5]["position"] = [40, 4000]
    after["nodes"].pop(9)
    after["nodes"].append({**after["nodes"][1], "id": "new", "name": "New step"})
    return after


# -- ways of comparing ------------------------------------------------------------------------------------------------


def plain(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """A deep comparison that knows nothing of workflows: lists by position."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from plain(before.get(key), after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            old, new = (side[number] if number < len(side) else None for side in (before, after))
            yield from plain(old, new, f"{path}[{number}]")
    elif before != after:
        yield path


def as_text(flow: Flow) -> str:
    return orjson.dumps(flow, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def with_difflib(before: Flow, after: Flow) -> int:
    """Bytes of a unified diff of the indented JSON."""
    lines = difflib.unified_diff(as_text(before).split("\n"), as_text(after).split("\n"), lineterm="")
    return sum(len(line) + 1 for line in lines)


def with_git(before: Flow, after: Flow) -> int:
    """The same by git."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder, "old.json"), Path(folder, "new.json")
        old.write_text(as_text(before))
        new.write_text(as_text(after))
        found = subprocess.run(
            ["git", "diff", "--no-index", "--no-color", str(old), str(new)], capture_output=True, check=False
        )
        return len(found.stdout)


def page(before: Flow | None, after: Flow | None, view: str) -> int:
    """Bytes of a view as a page shows it."""
    from django.template.loader import render_to_string

    from workflows.presenters import DiffSide, diff_context

    shown = diff_context(DiffSide(before, "Before"), DiffSide(after, "After"), view=view)
    return len(render_to_string("workflows/_diff.html", {**shown, "diff_query": "?"}).encode())


# -- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    median_ms: float
    slowest_ms: float
    size: int


def cpu_seconds() -> float:
    """Of this process and those it started, so that neighbours on the machine do not count."""
    ours, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in (ours, theirs))


def measured(work: Callable[[], int], rounds: int) -> Measured:
    work()
    times, size = [], 0
    for _ in range(rounds):
        began = cpu_seconds()
        size = work()
        times.append((cpu_seconds() - began) * 1000)
    return Measured(statistics.median(times), max(times), size)


def row(what: str, way: str, found: Measured) -> list[str]:
    return [what, way, f"{found.median_ms:.0f} ms", f"{found.slowest_ms:.0f} ms", f"{found.size / 1000:,.0f} KB"]


def cases() -> Iterator[tuple[str, Flow | None, Flow]]:
    """What is compared: a name, before, after."""
    mega = large(400, 39)
    assert len(orjson.dumps(mega)) > MEGABYTE, len(orjson.dumps(mega))
    yield "1 MB, one node of 400 changed", mega, edited(mega, 1000)
    yield "1 MB, every node changed", mega, edited(mega, 1)
    yield "1 MB, all of it new", None, mega
    small = large(5, 10)
    yield "5 nodes, all changed", *_with_room(small)
    wide = large(400, 1)
    yield "400 nodes, every tenth changed", wide, edited(wide, 10)


def _with_room(flow: Flow) -> tuple[Flow, Flow]:
    after = copy.deepcopy(flow)
    for node in after["nodes"]:
        node["parameters"]["jsCode"] += "\n// done"
    return flow, after


def of_case(what: str, before: Flow | None, after: Flow, rounds: int) -> list[list[str]]:
    """One row for each way of comparing the same two versions."""
    old = before or {}
    ways: list[tuple[str, Callable[[], int], int]] = [
        ("the page, text", lambda: page(before, after, "text"), rounds),
        ("the page, graph and words", lambda: page(before, after, "graph"), rounds),
        ("plain comparison", lambda: sum(map(len, plain(before, after))), rounds),
        ("git diff of the JSON", lambda: with_git(old, after), rounds),
        ("difflib of the JSON", lambda: with_difflib(old, after), min(rounds, 2)),
    ]
    return [row(what, way, measured(work, times)) for way, work, times in ways]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    django.setup()
    found = [line for case in cases() for line in of_case(*case, rounds)]
    body = (
        "Processor time and size of one view, templates included, beside other ways to compare the same two versions: a"
        " deep comparison that knows nothing of workflows (it names paths), and line diffs of the indented JSON."
        " Targets: text of 1 MB ≤ 300 ms and ≤ 500 KB, graph of 400 nodes ≤ 200 ms.\n\n"
    )
    body += table(["what", "way", "median", "slowest", "size"], found)
    save("diffs", command=f"script/bench diffs --rounds {rounds}", title="What a diff costs", body=body)


if __name__ == "__main__":
    main()
