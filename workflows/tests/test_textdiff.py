"""Two versions as text: all that differs is said once, code stands as lines, secrets are hidden and still compared."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.textdiff import compare, comparing, draw, draw_rest, sections_of
from workflows.textdiff.colouring import coloured
from workflows.textdiff.lines import Line

CODE = "// totals\nconst limit = 10;\nreturn items.map((item) => ({ json: item }));"


def flow(*nodes: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"name": "Orders", "nodes": list(nodes), "connections": {}, "settings": {}, **extra}


def node(name: str, kind: str = "n8n-nodes-base.set", **parameters: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "typeVersion": 1, "parameters": parameters}


def lines(diff: Any, side: str) -> list[str]:
    """All lines of one side of a whole diff."""
    own = {"left": ("same", "removed", "changed"), "right": ("same", "added", "changed")}[side]
    return [getattr(row, side).raw for part in diff.sections for row in part.rows if row.kind in own]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(alphabet="ab\n={} ", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
nodes = st.dictionaries(st.sampled_from(["A", "B", "C", "D"]), values, max_size=4)


@given(nodes, nodes)
def test_everything_is_said_and_nothing_twice(before: dict[str, Any], after: dict[str, Any]) -> None:
    left = flow(*(node(name, value=value) for name, value in before.items()))
    right = flow(*(node(name, value=value) for name, value in after.items()))
    diff = compare(left, right, whole=True)
    differing = {part.key for part in diff.sections}
    for side, content in (("left", left), ("right", right)):
        wanted = [line.raw for s in sections_of(content) if s.key in differing for line in s.lines]
        assert sorted(lines(diff, side)) == sorted(wanted)
    for s, t in zip(*({p.key: p for p in sections_of(c)}.items() for c in (left, right)), strict=False):
        assert (s[0] in differing) or s[0] != t[0] or [x.raw for x in s[1].lines] == [x.raw for x in t[1].lines]
    assert diff.is_empty is (
        [(s.key, s.lines) for s in sorted(sections_of(left), key=lambda s: s.key)]
        == [(s.key, s.lines) for s in sorted(sections_of(right), key=lambda s: s.key)]
    )
    counts = [[(p.key, p.added, p.removed) for p in d.sections] for d in (diff, compare(left, right))]
    assert counts[0] == counts[1], "folding hides no change"


def test_code_stands_as_lines_and_a_change_is_marked_within_its_line() -> None:
    before = flow(node("Sum", "n8n-nodes-base.code", jsCode=CODE))
    after = flow(node("Sum", "n8n-nodes-base.code", jsCode=CODE.replace("10", "25")))
    (part,) = compare(before, after).sections
    (row,) = [row for row in part.rows if row.kind == "changed"]
    assert row.left and row.right and row.right.shown.strip() == "const limit = 25;"
    assert [row.right.shown[start:end] for start, end in row.right_marks] == ["25"]
    page = draw(part, layout="unified")
    assert '<span class="hl-k">const</span>' in page and '<mark><span class="hl-m">25</span></mark>' in page
    assert '<span class="hl-c">// totals</span>' in page


def test_a_change_of_one_line_among_many_stays_small() -> None:
    text = "\n".join(f"line {n}" for n in range(5000))
    before, after = flow(node("Long", text=text)), flow(node("Long", text=text.replace("line 2500\n", "line 2500!\n")))
    (part,) = compare(before, after).sections
    assert (part.added, part.removed) == (1, 1) and len(part.rows) < 12
    assert sum(row.folded for row in part.rows) + sum(row.kind != "fold" for row in part.rows) == 5003
    page = draw(part, layout="split", more_url="/all")
    assert "unchanged lines</a>" in page and len(page) < 4000


def test_a_secret_is_hidden_and_that_it_changed_is_said() -> None:
    before = flow(node("Call", password="hunter2", url="https://a.example?token=abcdef123"))
    after = flow(node("Call", password="hunter3", url="https://a.example?token=abcdef456"))
    (part,) = compare(before, after).sections
    for layout in ("unified", "split"):
        page = draw(part, layout=layout)  # type: ignore[arg-type]
        assert "hunter" not in page and "abcdef" not in page and page.count("(hidden, changed)") == 4


def test_a_key_that_goes_over_several_lines_is_hidden_as_a_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabcdefgh\nabcdefghijkl\n-----END RSA PRIVATE KEY-----"
    (part,) = compare(flow(node("Sign", note="x")), flow(node("Sign", note=key))).sections
    assert "MIIE" not in draw(part, layout="unified")


def test_a_renamed_node_is_one_part_and_not_two() -> None:
    before, after = flow(node("Old", value="1")), flow(node("New", value="2"))
    (part,) = compare(before, after, renamed={"New": "Old"}).sections
    assert (part.state, part.title, part.former, part.added) == ("changed", "New", "Old", 1)
    assert len(compare(before, after).sections) == 2


def test_connections_are_lines() -> None:
    link = {"A": {"main": [[], [{"node": "B", "type": "main", "index": 0}]]}}
    model = {"M": {"ai_languageModel": [[["A", "ai_languageModel", 0]]]}}
    (part,) = compare(flow(), flow(connections={**link, **model})).sections[-1:]
    assert [row.right.shown for row in part.rows if row.right] == ["A (output 2) → B", "M → A [ai_languageModel]"]


def test_what_others_wrote_is_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    before, after = flow(node("N", html=hostile)), flow(node("N", html=f"{hostile}<img src=x onerror=y>\n<b>"))
    for part in compare(before, after).sections:
        for layout in ("unified", "split"):
            page = draw(part, layout=layout, more_url='/"><x')  # type: ignore[arg-type]
            assert set(re.findall(r"<(\w+)", page)) <= {"tr", "td", "ins", "del", "mark", "span", "a"}
            assert hostile in unescape(re.sub(r"<[^>]+>", "", page))


@pytest.mark.parametrize("language", ["javascript", "python", "sql", "html", "json", "css", "bash", "markdown"])
@settings(deadline=None)  # the first of a language loads its lexer
@given(text=st.text(max_size=60))
def test_colours_never_change_what_stands_there(language: str, text: str) -> None:
    """Stretches lie within their line and in order, whatever the lexer makes of it."""
    rows = [Line(part, part, language) for part in text.split("\n")]
    for line in coloured(rows):
        assert all(0 <= first < last <= len(line.shown) for first, last, _ in line.colours)


def test_however_large_the_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "MOST_ROWS", 50)
    after = flow(*(node(f"N{n}", text="\n".join(map(str, range(30)))) for n in range(10)))
    diff = compare(None, after)
    assert len(diff.sections) == 11 and diff.sections[-1].is_cut


def test_a_megabyte_stays_small_and_its_parts_open_on_their_own() -> None:
    code = "\n".join(f"const total{n} = items[{n}].json.amount; // of line {n}" for n in range(50))
    after = flow(*(node(f"N{n}", "n8n-nodes-base.code", jsCode=code) for n in range(420)))
    diff = compare(None, after)
    pages = "".join(draw(part, layout="split") for part in diff.shown) + draw_rest(diff.rest, alone_url="/d?view=text")
    assert len(pages) < 400_000 and diff.rest and len(diff.shown) + len(diff.rest) == 421
    last = diff.rest[-1]
    assert f"section={quote(last.key)}" in pages and f"+{last.added}" in pages
    (alone,) = compare(None, after, only=last.key).sections
    assert len(alone.rows) == last.added and not alone.is_cut


def test_keys_in_another_order_are_no_difference() -> None:
    before, after = flow(node("N", a=1, b={"c": 1, "d": 2})), flow(node("N", b={"d": 2, "c": 1}, a=1))
    assert compare(before, after).is_empty
