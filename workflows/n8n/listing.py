"""The list of workflows, page by page, so that nothing is missed however the list moves meanwhile.

n8n's cursor is an offset over ids: a row that goes away while pages are read moves all later ones up, and one slips
past a page's edge. So each page is asked for from the last row of the page before. Where that row comes again, every
workflow that was there all the time stands in one of the two pages, in whichever order they were read; so the next
pages can be on their way while one is worked on. Where it does not, the whole list is read again with If-None-Match.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import msgspec
import orjson

from core.texts import storable
from workflows.content import ContentError, UnreadWorkflow, loads_workflow
from workflows.exact_json import TooMuch, loads

from . import errors
from .http import Answer

PAGE_LIMIT = 250
PAGE_SIZES = (PAGE_LIMIT, 25, 1)
"""Tried in turn where an answer is too large to be taken."""
PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of a page that holds more than one workflow. A page is held while others are on their way."""
PAGES_AHEAD = 2
LARGE_PAGE = 4 * 1024 * 1024
"""Bytes of a page from which on only one is on its way: memory counts for more than time then."""

_PASSES = 4
_MOST_WORKFLOWS = 100_000
_MOST_PAGES = 10_000
_MOST_ROWS = 4 * PAGE_LIMIT
"""Rows of one page. n8n gives no more than it is asked for, a proxy may."""
_MOST_UNNAMED = 5
"""Workflows of which not even the name can be taken, before the whole list is given up."""
_LONGEST_TEXT = 2000
"""Bytes of an id or a name, as JSON. n8n's have at most 64 and 128 characters."""
_TOO_LARGE = "Its content is larger than one answer of n8n may be here."


@dataclass(frozen=True, slots=True)
class CachedPage:
    """What is remembered of a page of the list: `ids` in order."""

    etag: str
    ids: tuple[str, ...]
    next_cursor: str | None


class Rows:
    """Raw workflows, each parsed when it comes to it and then forgotten; each with an `id` that is text.

    The objects of a whole page are more than a processor keeps at hand: one workflow at a time takes half as long.
    One that cannot be read is an `UnreadWorkflow`.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[msgspec.Raw | dict[str, Any]] = ()) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(_workflow, self._parts)

    def chosen(self, which: Iterable[bool]) -> Rows:
        """Those for which `which` holds, in order."""
        return Rows(list(compress(self._parts, which)))

    def last(self) -> Rows:
        return Rows(self._parts[-1:])


def _workflow(part: msgspec.Raw | dict[str, Any]) -> dict[str, Any]:
    if isinstance(part, dict):
        return part
    try:
        return identified(loads_workflow(memoryview(part)))
    except ContentError as exc:
        titled = _TITLED.decode(part)
        return UnreadWorkflow(_text(titled.id), _text(titled.name), exc.message)


def _text(part: msgspec.Raw) -> str:
    """A short value as text that can be stored; '' for anything else."""
    data = bytes(part) if len(memoryview(part)) <= _LONGEST_TEXT else b""
    try:
        found = loads(data)
    except ContentError:
        return ""
    return storable(str(found)) if isinstance(found, str | int) else ""


def identified(raw: dict[str, Any]) -> dict[str, Any]:
    """A raw workflow with ids that can be stored; its content is left as it is."""
    raw["id"] = storable(str(raw["id"]))
    for name in ("versionId", "activeVersionId"):
        if isinstance(raw.get(name), str):
            raw[name] = storable(raw[name])
    return raw


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list.

    `items` are raw workflows, each id once over the whole iteration. With `unchanged` n8n sent no body: `items` is
    empty and `ids` are the remembered ones. `again` marks pages of another pass, made because the list changed:
    their `items` are those that were not seen before. `unnamed`: here stands a workflow of which nothing can be taken.
    """

    number: int
    items: Rows
    ids: tuple[str, ...]
    etag: str
    unchanged: bool = False
    again: bool = False
    unnamed: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """A page as n8n gave it. With `joined` the next one begins with the last row of this one."""

    items: Rows
    ids: tuple[str, ...]
    etag: str
    following: str | None
    unchanged: bool
    bytes: int
    joined: bool = False
    unnamed: bool = False


@dataclass(frozen=True, slots=True)
class _Held:
    """The last row of a joined page, left to the next one: `items` is empty if n8n sent no body."""

    ids: tuple[str, ...] = ()
    items: Rows = field(default_factory=Rows)


Ask = Callable[[str, str], Answer]
"""Fetches the page at a cursor ('' for the first), given the ETag under which it is known ('' if it is not)."""


class Listing:
    """One iteration over the list; see `N8nClient.iter_workflow_pages`.

    ``ask_briefly`` leaves out what a workflow can do without, to learn the name of one that is too large.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        size: int,
        memory: MutableMapping[str, CachedPage],
        address: str,
        ask_briefly: Ask | None = None,
    ) -> None:
        self._ask, self._ask_briefly = ask, ask_briefly or ask
        self._unnamed = 0
        self._size = size
        self._memory = memory
        self._address = address

    def pages(self, *, verify: bool) -> Iterator[Page]:
        """Yield the pages; read the list again while it changes. Raises `ListMoved` if it does not come to rest.

        The first page is sent for at once, before anything is asked of the iterator.
        """
        pool = ThreadPoolExecutor(max_workers=PAGES_AHEAD, thread_name_prefix="page")
        return self._pages(pool, self._send_for(pool, ""), verify)

    def _pages(self, pool: ThreadPoolExecutor, first: Future[Answer], verify: bool) -> Iterator[Page]:
        seen: set[str] = set()
        before: list[tuple[str, ...]] = []
        with pool:
            for attempt in range(_PASSES):
                current = _Pass(self._size, seen, again=attempt > 0)
                for read in self._walk(pool, first if attempt == 0 else self._send_for(pool, "")):
                    yield from current.take(read)
                if not current.repeats and (current.is_proven or not verify or current.ids == before):
                    return
                before = current.ids
        raise errors.ListMoved()

    def _send_for(self, pool: ThreadPoolExecutor, cursor: str) -> Future[Answer]:
        known = self._memory.get(self._address + cursor)
        return pool.submit(self._ask, cursor, known.etag if known else "")

    def _walk(self, pool: ThreadPoolExecutor, first: Future[Answer]) -> Iterator[_Read]:
        """Every page once, in order, the next ones on their way."""
        coming = deque([("", first)])

        def send_for(cursor: str) -> None:
            coming.append((cursor, self._send_for(pool, cursor)))

        start = 0
        asked: set[str] = set()
        for _ in range(min(_MOST_PAGES, _MOST_WORKFLOWS // self._size)):
            asked.add(coming[0][0])
            read = self._read(coming, start)
            if read.joined:
                step = len(read.ids) - 1
                start += step
                while len(coming) < (1 if read.bytes > LARGE_PAGE else PAGES_AHEAD):
                    send_for(_cursor(step + 1, start + step * len(coming)))
            else:
                while coming:
                    coming.popleft()[1].cancel()
                if read.following in asked:
                    raise errors.NotAnApi("The list of workflows leads back to where it was.")
                if read.following is not None:
                    start = -1  # n8n's cursor names no position: from here on it is followed as it is
                    send_for(read.following)
            yield read
            if not coming:
                return
        raise errors.NotAnApi("The list of workflows does not end.")

    def _read(self, coming: deque[tuple[str, Future[Answer]]], start: int) -> _Read:
        cursor, future = coming.popleft()
        try:
            return self._understood(cursor, future.result(), start)
        except errors.TooLarge as error:
            if self._size > 1:
                raise
            _let_go(error)
            del future
        return self._set_aside(cursor)

    def _set_aside(self, cursor: str) -> _Read:
        """The place of a workflow that is too large to be taken: its id and name, where n8n tells them without it."""
        try:
            items, ids, following = _parsed(self._ask_briefly(cursor, ""))
        except errors.TooLarge as error:
            _let_go(error)
            place = (1, 0) if not cursor else _position(cursor)
            self._unnamed += 1
            if place is None or self._unnamed > _MOST_UNNAMED:
                raise errors.TooLarge from None
            return _Read(Rows(), (), "", _cursor(1, place[1] + 1), False, 0, unnamed=True)
        unread = [UnreadWorkflow(raw["id"], str(raw.get("name") or ""), _TOO_LARGE) for raw in items]
        return _Read(Rows(unread), ids, "", following, False, 0)

    def _understood(self, cursor: str, answer: Answer, start: int) -> _Read:
        known = self._memory.get(self._address + cursor)
        if answer.status == 304 and known is not None:
            ids, etag, following = known.ids, known.etag, known.next_cursor
            items = Rows()
        else:
            items, ids, following = _parsed(answer)
            etag = answer.etag
            if etag:
                self._memory[self._address + cursor] = CachedPage(etag, ids, following)
        if following is not None and not ids:
            raise errors.NotAnApi("The list of workflows does not end.")
        if following is None:
            joined = start > 0 and len(ids) == self._size  # the next page, sent for already, will hold this one row
        else:
            joined = (
                start >= 0 and len(ids) == self._size > 1 and _position(following) == (self._size, start + len(ids))
            )
        return _Read(items, ids, etag, following, answer.status == 304, len(answer.body), joined)


def _let_go(error: BaseException) -> None:
    """Forget where an error was raised: it would keep the answer that was read there while the next one is."""
    error.__traceback__ = error.__context__ = error.__cause__ = None


class _Pass:
    """One pass over the list, from its first page to its last."""

    def __init__(self, size: int, seen: set[str], *, again: bool) -> None:
        self._size = size
        self._seen = seen
        self._again = again
        self._held = _Held()
        self.ids: list[tuple[str, ...]] = []
        self.is_proven = True
        """Whether nothing can have slipped past the edge of a page."""

    @property
    def repeats(self) -> bool:
        """Whether a workflow came twice, so that others may not have come at all."""
        return sum(map(len, self.ids)) != len({workflow_id for page in self.ids for workflow_id in page})

    def take(self, read: _Read) -> Iterator[Page]:
        """Yield the rows of a page, after the last row of the page before where this one does not begin with it."""
        if self._held.ids and read.ids[:1] != self._held.ids:
            self.is_proven = False
            yield from self._release_held()
        # The last row of a joined page is left to the next one, which begins with it.
        ids = read.ids[:-1] if read.joined else read.ids
        is_new = [workflow_id not in self._seen for workflow_id in ids]
        self.ids.append(ids)
        if any(is_new) or not self._again:
            items = read.items.chosen(is_new)
            yield Page(len(self.ids), items, ids, read.etag, read.unchanged, self._again, read.unnamed)
        self._seen.update(ids)
        self.is_proven = self.is_proven and (read.joined or self._is_last(read, ids))
        self._held = _Held(read.ids[-1:], read.items.last()) if read.joined else _Held()

    def _is_last(self, read: _Read, ids: tuple[str, ...]) -> bool:
        # n8n counts with a query of its own: a full page that is called the last need not be.
        return read.following is None and len(ids) < self._size

    def _release_held(self) -> Iterator[Page]:
        if self._held.items and self._held.ids[0] not in self._seen:
            self._seen.update(self._held.ids)
            yield Page(len(self.ids), self._held.items, self._held.ids, "", again=self._again)


class _List(msgspec.Struct):
    data: list[msgspec.Raw]
    nextCursor: str | None = None


class _Named(msgspec.Struct):
    id: msgspec.Raw

    def __post_init__(self) -> None:
        _counted.rows = getattr(_counted, "rows", 0) + 1
        if _counted.rows > _MOST_ROWS or len(memoryview(self.id)) > _LONGEST_TEXT:
            raise ValueError("too much")


class _Titled(msgspec.Struct):
    id: msgspec.Raw
    name: msgspec.Raw = msgspec.Raw(b'""')


class _Names(msgspec.Struct):
    data: list[_Named]


_counted = threading.local()
_LIST, _NAMES = msgspec.json.Decoder(_List), msgspec.json.Decoder(_Names)
_TITLED = msgspec.json.Decoder(_Titled)


def _parsed(answer: Answer) -> tuple[Rows, tuple[str, ...], str | None]:
    """The workflows of a page, their ids and n8n's cursor. Looks at no more of each workflow than where it ends."""
    _counted.rows = 0
    try:
        names = _NAMES.decode(answer.body)
        found = _LIST.decode(answer.body)
    except (msgspec.MsgspecError, RecursionError):
        if _counted.rows > _MOST_ROWS:
            raise errors.NotAnApi("A page of the list of workflows holds more than was asked for.") from None
        if len(answer.body) > PAGE_BYTES:
            raise errors.TooLarge from None
        return _parsed_at_once(answer)
    ids = tuple(_text(row.id) for row in names.data)
    if not all(ids):
        return _parsed_at_once(answer)
    return Rows(found.data), ids, found.nextCursor or None


def _loaded(answer: Answer) -> Any:
    try:
        return loads(answer.body)
    except TooMuch as exc:
        raise errors.TooLarge(exc.message) from exc
    except ContentError as exc:
        raise errors.NotAnApi("The list of workflows is not JSON.") from exc


def _parsed_at_once(answer: Answer) -> tuple[Rows, tuple[str, ...], str | None]:
    """The same of a page with half an emoji in it, or what else only the patient parser takes."""
    body = _loaded(answer)
    items = body.get("data") if isinstance(body, dict) else None
    if not isinstance(items, list) or any(not isinstance(w, dict) or not w.get("id") for w in items):
        raise errors.NotAnApi("The list of workflows does not look like n8n's.")
    for item in items:
        identified(item)
    return Rows(items), tuple(item["id"] for item in items), body.get("nextCursor") or None


def _cursor(limit: int, offset: int) -> str:
    """The cursor that n8n makes for a position in the list."""
    return base64.b64encode(orjson.dumps({"limit": limit, "offset": offset})).decode()


def _position(cursor: str) -> tuple[int, int] | None:
    """The limit and offset in n8n's cursor; None where it is of another kind."""
    try:
        held = orjson.loads(base64.b64decode(cursor, validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        return None
    return (held["limit"], held["offset"]) if isinstance(held, dict) and set(held) == {"limit", "offset"} else None
