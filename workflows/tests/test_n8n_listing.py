"""The list of workflows while it is edited: pages answered in any order, rows that come and go between any two."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.content import ContentError, portable
from workflows.n8n import errors, listing
from workflows.n8n.http import Answer
from workflows.n8n.listing import Listing


class Instance:
    """A list sorted by id, with n8n's own cursors; ``edits`` are carried out before each answer, one at a time."""

    def __init__(self, count: int, *, size: int, edits: list[Any] | None = None) -> None:
        self.rows = [f"w{i * 10:05}" for i in range(count)]
        self.size = size
        self.edits = list(edits or ())
        self.removed: set[str] = set()
        self.asked: list[int] = []

    def ask(self, cursor: str, etag: str) -> Answer:
        self._edit()
        held = json.loads(base64.b64decode(cursor or base64.b64encode(b"{}")))
        start, limit = held.get("offset", 0), held.get("limit", self.size)
        self.asked.append(start)
        data = [{"id": i} for i in self.rows[start : start + limit]]
        self._edit()  # n8n counts with a query of its own
        following = None
        if len(self.rows) > start + limit:
            following = base64.b64encode(b'{"limit":%d,"offset":%d}' % (limit, start + limit)).decode()
        body = json.dumps({"data": data, "nextCursor": following}).encode()
        mark = f'W/"{hash(body)}"'
        unchanged = etag == mark
        return Answer(304 if unchanged else 200, httpx.Headers({"etag": mark}), b"" if unchanged else body)

    def _edit(self) -> None:
        if not self.edits or not (edit := self.edits.pop(0)):
            return
        kind, place = edit
        if kind == "insert":
            self.rows = sorted({*self.rows, f"w{place:05}"})
        elif self.rows:
            self.removed.add(self.rows.pop(place % len(self.rows)))

    def listed(self, memory: dict[str, Any] | None = None) -> list[str]:
        made = Listing(self.ask, size=self.size, memory=memory if memory is not None else {}, address="")
        return [w["id"] for page in made.pages(verify=True) for w in page.items]


class Pool:
    """An executor of which the test decides in which order it answers."""

    later_first = False

    def __init__(self, **_options: Any) -> None:
        self.waiting: list[tuple[_Answered, Callable[[], Any]]] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def submit(self, act: Callable[..., Any], *words: Any) -> Future[Any]:
        made = _Answered(self)
        self.waiting.append((made, lambda: act(*words)))
        return made


class _Answered(Future[Any]):
    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool

    def result(self, timeout: float | None = None) -> Any:
        waiting, self._pool.waiting = self._pool.waiting, []
        for future, act in reversed(waiting) if self._pool.later_first else waiting:
            if not future.cancelled():
                future.set_result(act())
        return super().result(0)


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> type[Pool]:
    class Own(Pool):
        pass

    monkeypatch.setattr(listing, "ThreadPoolExecutor", Own)
    return Own


EDIT = st.none() | st.tuples(st.sampled_from(["insert", "delete"]), st.integers(0, 400))


@pytest.mark.parametrize("later_first", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_whatever_is_there_all_the_time_is_listed_once(in_turn: type[Pool], size: int, later_first: bool) -> None:
    @settings(max_examples=150, deadline=None)
    @given(count=st.integers(0, 30), edits=st.lists(EDIT, max_size=24))
    def holds(count: int, edits: list[Any]) -> None:
        in_turn.later_first = later_first
        instance = Instance(count, size=size, edits=edits)
        there = set(instance.rows)
        try:
            found = instance.listed()
        except errors.ListMoved:
            assert sum(map(bool, edits)) >= 2  # without edits in several looks the list comes to rest
            return
        assert len(found) == len(set(found))
        assert there - instance.removed <= set(found)

    holds()


def test_a_list_at_rest_is_read_once_page_by_page(in_turn: type[Pool]) -> None:
    instance = Instance(23, size=5)
    assert instance.listed() == instance.rows
    pages = [0, 4, 8, 12, 16, 20]
    assert sorted(set(instance.asked)) == sorted(instance.asked)
    assert instance.asked[: len(pages)] == pages


def test_a_full_last_page_is_not_believed(in_turn: type[Pool]) -> None:
    """Between reading and counting a row went away: the row that slipped behind the edge is found."""
    instance = Instance(10, size=5, edits=[None] * 3 + [("delete", 0)])
    everybody = set(instance.rows)
    assert everybody - instance.removed <= set(instance.listed())


def test_an_unchanged_list_sends_no_body_the_second_time(in_turn: type[Pool]) -> None:
    instance, memory = Instance(12, size=5), {}
    first = list(Listing(instance.ask, size=5, memory=memory, address="").pages(verify=True))
    again = list(Listing(instance.ask, size=5, memory=memory, address="").pages(verify=True))
    assert not any(page.unchanged for page in first)
    assert all(page.unchanged and not page.items for page in again)
    assert [page.ids for page in again] == [page.ids for page in first]
    assert [i for page in again for i in page.ids] == instance.rows


def test_pages_come_ahead_of_the_work() -> None:
    """The next page is asked for before the one at hand was worked on."""
    instance = Instance(40, size=5)
    pages = Listing(instance.ask, size=5, memory={}, address="").pages(verify=True)
    next(pages)
    second = next(pages)
    assert second.ids[0] == instance.rows[4]
    pages.close()
    assert len(instance.asked) >= 3


def test_a_cursor_of_another_kind_is_followed_as_it_is(in_turn: type[Pool]) -> None:
    rows = [f"w{i:02}" for i in range(9)]
    asked: list[str] = []

    def ask(cursor: str, _etag: str) -> Answer:
        asked.append(cursor)
        start = int(cursor or 0)
        body = {"data": [{"id": i} for i in rows[start : start + 4]], "nextCursor": str(start + 4)}
        if start + 4 >= len(rows):
            body["nextCursor"] = None
        return Answer(200, httpx.Headers(), json.dumps(body).encode())

    found = [w["id"] for page in Listing(ask, size=4, memory={}, address="").pages(verify=True) for w in page.items]
    assert found == rows
    assert asked == ["", "4", "8"] * 2  # nothing proves it whole but a second look that is the same


def answering(body: bytes) -> Callable[[str, str], Answer]:
    return lambda _cursor, _etag: Answer(200, httpx.Headers(), body)


def read(body: bytes) -> list[dict[str, Any]]:
    return [
        w for page in Listing(answering(body), size=5, memory={}, address="").pages(verify=False) for w in page.items
    ]


def test_each_workflow_is_read_exactly_and_its_id_is_text() -> None:
    rows = [{"id": 7, "n": 2**53 + 1, "f": 1.5, "t": "ä\n\u2028"}, {"id": "x", "nodes": [{"id": "inner"}]}]
    assert read(json.dumps({"data": rows, "nextCursor": None}).encode()) == [{**rows[0], "id": "7"}, rows[1]]
    half = b'{"data":[{"id":"a","name":"half \\ud83d"},{"id":"b","large":123456789012345678901234567890}]}'
    assert read(half) == [{"id": "a", "name": "half \ud83d"}, {"id": "b", "large": 123456789012345678901234567890}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"data":null}',
        b'{"data":{}}',
        b'{"data":[1]}',
        b'{"data":[null]}',
        b'{"data":[{"name":"no id"}]}',
        b'{"data":[{"id":null}]}',
        b'{"data":[{"id":"a","n":NaN}]}',
        b'{"data":[{"id":"a","n":[1,}]}',
        b'{"data":[{"id":"a"}',
        b'{"data":[{"id":"a","deep":' + b"[" * 5000 + b"]" * 5000 + b"}]}",
    ],
)
def test_what_is_no_list_of_workflows_is_named(body: bytes) -> None:
    with pytest.raises(errors.NotAnApi):
        read(body)


def test_what_is_too_large_even_alone_is_set_aside_and_the_list_goes_on() -> None:
    """Named where n8n tells the name without the pinned data; else its place is told, and the next one is asked for."""
    instance = Instance(4, size=1)

    def ask(cursor: str, etag: str) -> Answer:
        if _place(cursor) in (1, 2):
            raise errors.TooLarge
        return instance.ask(cursor, etag)

    def briefly(cursor: str, etag: str) -> Answer:
        if _place(cursor) == 2:
            raise errors.TooLarge
        return instance.ask(cursor, etag)

    listing = Listing(ask, size=1, memory={}, address="", ask_briefly=briefly)
    pages = list(listing.pages(verify=False))
    assert [[w["id"] for w in page.items] for page in pages] == [["w00000"], ["w00010"], [], ["w00030"]]
    assert [page.unnamed for page in pages] == [False, False, True, False]
    with pytest.raises(ContentError, match="larger than"):
        portable(next(iter(pages[1].items)))


def _place(cursor: str) -> int:
    return int(json.loads(base64.b64decode(cursor or b"e30=")).get("offset", 0))


def test_a_list_of_which_nothing_can_be_taken_ends() -> None:
    def ask(cursor: str, etag: str) -> Answer:
        raise errors.TooLarge

    with pytest.raises(errors.TooLarge):
        list(Listing(ask, size=1, memory={}, address="").pages(verify=True))


@pytest.mark.parametrize("row", [b'{"id":"a","name":"\xff"}', b'{"id":"a","name":"odd","n":1e999}'])
def test_one_row_that_is_no_json_stands_for_itself(row: bytes) -> None:
    found = read(b'{"data":[{"id":"b","name":"fine"},' + row + b"]}")
    assert [one["id"] for one in found] == ["b", "a"]
    with pytest.raises(ContentError):
        portable(found[1])
