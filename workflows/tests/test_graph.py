"""The drawings: well-formed, safe, bounded, and readable without colour."""

from __future__ import annotations

import copy
import re
from xml.etree import ElementTree

import pytest

from workflows.content import portable
from workflows.diff import diff_workflows
from workflows.graph import MAX_NODES, render_diff_svg, render_svg
from workflows.graph_layout import HEIGHT, WIDTH, edges, lay_out
from workflows.graph_text import fitted, width_of
from workflows.presenters import DiffSide, diff_context

SVG = "{http://www.w3.org/2000/svg}"


def workflow(count: int = 4, **more) -> dict:
    nodes = [
        {
            "id": str(i),
            "name": f"n{i}",
            "type": "n8n-nodes-base.set",
            "typeVersion": 1,
            "position": [i * 220, 0],
            "parameters": {},
        }
        for i in range(count)
    ]
    links = {f"n{i}": {"main": [[{"node": f"n{(i + 1) % count}", "type": "main", "index": 0}]]} for i in range(count)}
    return portable({"name": "w", "nodes": nodes, "connections": links, "settings": {}} | more)


def test_names_cannot_break_out_and_there_is_no_inline_style():
    evil = "\"><script>alert(1)</script>\x00'&"
    content = workflow()
    content["nodes"][0]["name"] = evil
    content["nodes"].append(
        {"name": "s", "type": "n8n-nodes-base.stickyNote", "position": [0, 0], "parameters": {"content": evil}}
    )
    svg = render_svg(content, title=evil)
    root = ElementTree.fromstring(svg)
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    assert "<script" not in svg
    assert " style=" not in svg
    assert not list(root.iter(f"{SVG}script"))


@pytest.mark.parametrize("position", [None, [0], ["a", 1], [1e300, 0], [True, 0], [0, 0], {}])
def test_useless_places_give_way_to_a_layout_without_overlap(position):
    content = workflow(30)
    for node in content["nodes"]:
        node["position"] = position
    points = list(lay_out(content["nodes"], edges(content)).points.values())
    assert len(points) == 30
    for i, (x, y) in enumerate(points):
        assert all(abs(x - u) >= WIDTH or abs(y - v) >= HEIGHT for u, v in points[i + 1 :])


def test_own_places_keep_their_order():
    points = lay_out(workflow(5)["nodes"], []).points
    assert [points[f"n{i}"][0] for i in range(5)] == sorted(points[f"n{i}"][0] for i in range(5))


def test_both_sides_lie_over_each_other_with_a_word_for_each_change():
    before, after = workflow(), copy.deepcopy(workflow())
    after["nodes"][0]["parameters"] = {"a": 1}
    after["nodes"][1]["position"] = [220, 300]
    after["nodes"].pop(2)
    after["nodes"].append(
        {"name": "new", "id": "new", "type": "n8n-nodes-base.if", "position": [900, 200], "parameters": {"x": 1}}
    )
    diff = diff_workflows(before, after)
    root = ElementTree.fromstring(render_diff_svg(before, after, diff, title="Diff", canvas=True))
    drawn = {node.get("data-node"): node for node in root.iter() if node.get("data-node")}
    for name, mark in (("n0", "changed"), ("n1", "moved"), ("n2", "removed"), ("new", "added")):
        assert f"wf-node--{mark}" in drawn[name].get("class")
        assert mark in [t.text for t in drawn[name].iter(f"{SVG}text")]
    desc = root.find(f"{SVG}desc").text
    assert "1 added, 1 removed, 1 changed, 1 moved" in desc
    assert len(root.findall(f"{SVG}g[@class='wf-ghost']")) == 1, "where it was is drawn beneath"
    plain = render_diff_svg(before, after, diff, title="Diff")
    assert "wf-node--moved" not in plain and "wf-ghost" not in plain, "places are cosmetic, and hidden unless asked for"


def test_one_sided_differences_are_drawn_too():
    one = workflow()
    added = render_diff_svg(None, one, diff_workflows(None, one), title="t")
    removed = render_diff_svg(one, None, diff_workflows(one, None), title="t")
    assert added.count("wf-node--added") == removed.count("wf-node--removed") == 4


def test_giants_are_bounded_and_say_so():
    svg = render_svg(workflow(5000), title="t")
    assert len(re.findall("data-node=", svg)) == MAX_NODES
    assert "3,800 more nodes" in svg
    assert len(svg) < 1_500_000
    assert "No nodes" in render_svg(workflow(0), title="t")


def test_ends_given_by_ids_are_drawn_at_their_nodes():
    content = workflow(3)
    content["connections"] = {"0": {"main": [[{"node": "1"}]]}}
    assert edges(content) == [("n0", "main", 0, "n1")]
    assert render_svg(content, title="t").count('<path class="wf-edge"') == 1


def test_wide_empty_stretches_are_taken_out():
    content = workflow(3)
    content["nodes"][2]["position"] = [90_000, 0]
    assert max(x for x, _ in lay_out(content["nodes"], []).points.values()) < 1000


def test_what_is_gone_is_drawn_beside_what_took_its_place():
    before, after = workflow(12), copy.deepcopy(workflow(12))
    after["nodes"][5] |= {"name": "instead", "id": "x", "type": "n8n-nodes-base.if", "parameters": {"a": 1}}
    points = list(lay_out([*after["nodes"], before["nodes"][5]], []).points.values())
    assert points[5][0] == points[12][0]
    assert points[12][1] - points[5][1] >= HEIGHT


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "A name of ordinary length",
        "W" * 80,
        "Wärmepumpenüberwachungssteuerung " * 3,
        "漢字の長い名前 " * 8,
        "a b " * 60,
    ],
)
def test_names_stay_within_their_rows(name: str):
    room = WIDTH - 21
    rows = fitted(name, size=12.5, width=room, rows=2)
    assert 1 <= len(rows) <= 2 and all(width_of(row, 12.5) <= room for row in rows)
    assert "".join(rows).replace("…", "").replace(" ", "") in name.replace(" ", ""), "nothing is left out in the middle"


def test_a_changed_node_leads_to_its_change_and_back():
    before, after = workflow(), copy.deepcopy(workflow())
    after["nodes"][0]["parameters"] = {"a": 1}
    shown = diff_context(DiffSide(before, "Before"), DiffSide(after, "After"))
    root = ElementTree.fromstring(shown["graph"])
    (link,) = root.iter(f"{SVG}a")
    (change,) = shown["behaviour"]
    assert link.get("href") == f"#{change.ident}" and change.url == f"#{link.get('id')}"
    assert [node.get("data-node") for node in root.iter(f"{SVG}g") if node.get("data-node")] == ["n1", "n2", "n3"]


def test_every_changed_node_is_marked_however_many_there_are():
    before, after = workflow(400), copy.deepcopy(workflow(400))
    for node in after["nodes"]:
        node["parameters"] = {"a": 1}
    shown = diff_context(DiffSide(before, "Before"), DiffSide(after, "After"))
    assert shown["graph"].count("wf-node--changed") == 400 and shown["legend"] == [("changed", 400)]
    assert len(shown["behaviour"]) == 100 and shown["left_out"] == 300, "the list beside it is bounded and says so"
