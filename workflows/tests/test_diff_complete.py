"""The diff against a plain deep comparison, on generated edits: nothing unsaid or said twice, moved is not gone."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.content import content_hash, portable
from workflows.diff import WorkflowDiff, diff_workflows
from workflows.graph_overlay import overlaid
from workflows.textdiff import TextDiff, compare

Flow = dict[str, Any]
NAMES = [f"Step {number}" for number in range(6)]


def base() -> Flow:
    """Six nodes in a row, with a model below and a note beside them."""
    nodes = [
        {
            "id": f"id-{number}",
            "name": name,
            "type": "n8n-nodes-base.code" if number % 2 else "n8n-nodes-base.set",
            "typeVersion": 1,
            "position": [number * 220, 0],
            "parameters": {"jsCode": f"const a = {number};\nreturn a;", "options": {"list": [1, {"x": "y"}]}},
        }
        for number, name in enumerate(NAMES)
    ]
    nodes.append(
        {"id": "note", "name": "Note", "type": "n8n-nodes-base.stickyNote", "position": [0, 300]}
        | {"typeVersion": 1, "parameters": {"content": "Read me", "width": 200}}
    )
    links = {a: {"main": [[{"node": b, "type": "main", "index": 0}]]} for a, b in pairwise(NAMES)}
    return portable({"name": "Orders", "nodes": nodes, "connections": links, "settings": {"timezone": "UTC"}})


def node_of(flow: Flow, number: int) -> Any:
    """A node by its id, whatever it is called by now; None where it was taken away."""
    return next((node for node in flow["nodes"] if node["id"] == f"id-{number}"), None)


def move(flow: Flow, number: int, value: Any) -> None:
    if node := node_of(flow, number):
        node["position"] = [node["position"][0] + 10, 400]


def rename(flow: Flow, number: int, value: Any) -> None:
    node = node_of(flow, number)
    if node is None:
        return
    old, new = node["name"], f"Renamed {number}"
    node["name"] = new
    if old in flow["connections"]:
        flow["connections"][new] = flow["connections"].pop(old)
    for kinds in flow["connections"].values():
        for link in kinds["main"][0]:
            link["node"] = new if link["node"] == old else link["node"]


def edit(flow: Flow, number: int, value: Any) -> None:
    if node := node_of(flow, number):
        node["parameters"]["added"] = value


def edit_code(flow: Flow, number: int, value: Any) -> None:
    if node := node_of(flow, number):
        node["parameters"]["jsCode"] += "\n// more"


def switch(flow: Flow, number: int, value: Any) -> None:
    if node := node_of(flow, number):
        node["disabled"] = True


def note(flow: Flow, number: int, value: Any) -> None:
    if node := node_of(flow, number):
        node["notes"] = "Ask first"


def take(flow: Flow, number: int, value: Any) -> None:
    node = node_of(flow, number)
    if node is not None:
        flow["nodes"].remove(node)


def add(flow: Flow, number: int, value: Any) -> None:
    if all(node["id"] != f"new-{number}" for node in flow["nodes"]):
        new = {"id": f"new-{number}", "name": f"New {number}", "type": "n8n-nodes-base.if", "typeVersion": 2}
        flow["nodes"].append({**new, "position": [number * 220, 0], "parameters": {"value": value, "own": number}})


def link(flow: Flow, number: int, value: Any) -> None:
    source = node_of(flow, number)
    targets = flow["connections"].get(source["name"], {}).get("main") if source else None
    if targets and all(found["node"] != NAMES[0] for found in targets[0]):
        targets[0].append({"node": NAMES[0], "type": "main", "index": 0})


def set_setting(flow: Flow, number: int, value: Any) -> None:
    flow["settings"]["timezone"] = "Europe/Paris"


def describe(flow: Flow, number: int, value: Any) -> None:
    flow["description"] = "What it does"


def tag(flow: Flow, number: int, value: Any) -> None:
    flow["tags"] = ["urgent"]


def publish(flow: Flow, number: int, value: Any) -> None:
    flow["active"] = True


def move_note(flow: Flow, number: int, value: Any) -> None:
    flow["nodes"][[n["id"] for n in flow["nodes"]].index("note")]["position"] = [50, 900]


EDITS: list[Callable[[Flow, int, Any], None]] = [
    *(move, rename, edit, edit_code, switch, note, take, add, link),
    *(set_setting, describe, tag, publish, move_note),
]
values = st.none() | st.booleans() | st.integers(0, 3) | st.text("ab\n", max_size=5) | st.just({"deep": [1, "two"]})
edits = st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 5), values), max_size=8)


def edited(steps: list[tuple[Callable[[Flow, int, Any], None], int, Any]]) -> Flow:
    flow = copy.deepcopy(base())
    for act, number, value in steps:
        act(flow, number, copy.deepcopy(value))
    return flow


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of a document with its path: the plain comparison looks at nothing else."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from leaves(each, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from leaves(each, f"{path}/{number}")
    else:
        yield path, repr(value)


def plain(before: Flow, after: Flow) -> set[str]:
    """What differs, by the id of the node or the name of the workflow's own part."""
    sides: list[dict[str, set[tuple[str, str]]]] = []
    for flow in (before, after):
        parts = {f"node {node['id']}": set(leaves(node)) for node in flow["nodes"]}
        parts |= {key: set(leaves(value)) for key, value in flow.items() if key != "nodes"}
        sides.append(parts)
    old, new = sides
    return {key for key in old.keys() | new.keys() if old.get(key, set()) != new.get(key, set())}


def said(diff: WorkflowDiff, before: Flow, after: Flow) -> Counter[tuple[str, str]]:
    """What the diff says, by the same names, with the word for it."""
    ids_before = {node["name"]: node["id"] for node in before["nodes"]}
    ids_after = {node["name"]: node["id"] for node in after["nodes"]}
    own = {
        "setting": "settings",
        "connection": "connections",
        "active": "active",
        "tags": "tags",
        "kept": "description",
    }
    found: Counter[tuple[str, str]] = Counter()
    for change in diff.changes:
        if change.what == "connection":
            found["connections", change.sentence] += 1
        elif change.what == "notes":
            found["node note", change.sentence] += 1
        elif change.what in own:
            found[own[change.what], change.sentence] += 1
        else:
            node_id = ids_after.get(change.node) or ids_before[change.before_node]
            kind = "canvas" if change.what in ("node_moved", "node_noted") else "content"
            found[f"node {node_id}", change.what if kind == "canvas" else kind] += 1
    return found


@settings(max_examples=150, deadline=None)
@given(edits)
def test_what_a_plain_comparison_finds_is_said_once(steps: Any) -> None:
    before, after = base(), edited(steps)
    diff = diff_workflows(before, after)
    words = said(diff, before, after)
    renames = any(change.what == "node_renamed" for change in diff.changes)
    wanted = plain(before, after) - ({"connections"} if renames else set())
    told = {key for key, _ in words}
    assert wanted <= told, "nothing is unsaid"
    assert told - {"connections"} <= wanted, "nothing is said that is not so"
    assert max(words.values(), default=0) <= 1, "nothing is said twice"
    assert diff.is_empty is (content_hash(before) == content_hash(after))


@settings(max_examples=150, deadline=None)
@given(edits)
def test_a_node_that_is_still_there_is_never_removed_and_added(steps: Any) -> None:
    before, after = base(), edited(steps)
    diff = diff_workflows(before, after)
    kept = {node["id"] for node in before["nodes"]} & {node["id"] for node in after["nodes"]}
    names = {node["name"] for flow in (before, after) for node in flow["nodes"] if node["id"] in kept}
    split = [change for change in diff.changes if change.what in ("node_added", "node_removed")]
    assert not names & {change.node or change.before_node for change in split}
    drawn = overlaid(before, after, diff, canvas=True)
    assert not names & {name for name, mark in drawn.marks.items() if mark in ("added", "removed")}
    assert set(drawn.ghosts) == {change.node for change in diff.changes if change.what == "node_moved"}


@settings(max_examples=150, deadline=None)
@given(edits)
def test_the_text_shows_what_a_plain_comparison_finds(steps: Any) -> None:
    """With positions and notes, everything; without, nothing where the hashes are equal."""
    before, after = base(), edited(steps)
    diff = diff_workflows(before, after)
    renamed = {change.node: change.before_node for change in diff.changes if change.what == "node_renamed"}
    text = compare(before, after, renamed=renamed)
    shown = set(_parts(text, before, after))
    links = {"connections"}
    assert shown - links == plain(before, after) - links
    assert len({part.key for part in text.sections}) == len(text.sections)
    for part in text.sections:
        assert part.former or any(row.kind not in ("same", "fold") for row in part.rows)


def _parts(text: TextDiff, before: Flow, after: Flow) -> Iterator[str]:
    """The parts of a text diff by the names of the plain comparison."""
    ids = {node["name"]: node["id"] for flow in (before, after) for node in flow["nodes"]}
    for part in text.sections:
        if part.node:
            yield f"node {ids[part.node]}"
        elif part.key == "workflow:connections":
            yield "connections"
        else:
            yield from _own(part, before, after)


def _own(part: Any, before: Flow, after: Flow) -> Iterator[str]:
    """Which of the workflow's own fields the lines of its part tell."""
    lines = [side for row in part.rows if row.kind not in ("same", "fold") for side in (row.left, row.right) if side]
    keys = [key for key in {**before, **after} if any(line.raw.startswith(f"{key}:") for line in lines)]
    deep = [line for line in lines if line.raw.startswith(" ")]
    yield from dict.fromkeys([*keys, *(["settings"] if any("timezone" in line.raw for line in deep) else [])])
