"""What the trail's page says of an act: one sentence in the words that apps declare, and the entries behind it."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from core.acts import ActName, ActWords
from core.registry import registry
from core.wording import counted
from tenants.models import Tenant, User

from . import presenters
from .acts import ENTRIES_READ, Act
from .models import AuditLog
from .selectors import BOOKKEEPING, people_of, tenants_named

ENTRIES_SHOWN = 8
WRITES = {"CREATE": "Created", "UPDATE": "Changed", "DELETE": "Deleted"}
#: Where no app has said how telling an entry is: events before writes, the console's own notes last.
_EVENT, _WRITE, _EFFECT, _NOTED = 200, 300, 500, 900


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One entry of an act, as it is listed under it."""

    pk: int
    state: str
    words: str
    name: str


@dataclass(frozen=True, slots=True)
class ActLine:
    """An act as the page draws it. ``shown`` are the facts of the entry that speaks for it (``presenters.present``)."""

    at: datetime
    sentence: str
    state: str
    shown: Mapping[str, Any]
    entries: tuple[EntryLine, ...]
    count: int
    has_more: bool
    all_query: str


@dataclass(frozen=True, slots=True)
class _Speaker:
    """The entry that speaks for an act, and in which words."""

    entry: AuditLog
    words: ActWords


def act_lines(acts: list[Act], *, slug: str = "") -> list[ActLine]:
    """Lines for the page; ``slug`` is the tenant's whose page it is. A few queries however many acts there are."""
    vocabulary = _Vocabulary()
    acts = [act for act in acts if act.entries]
    speakers = [vocabulary.speaker(act.known) for act in acts]
    whole = AuditLog.objects.in_bulk([speaker.entry.pk for speaker in speakers])
    rows = [whole.get(speaker.entry.pk, speaker.entry) for speaker in speakers]
    people = people_of(rows)
    tenants: Mapping[uuid.UUID, Tenant] = {} if slug else tenants_named(rows)
    shown = presenters.present(rows, people=people, tenants=tenants, slug=slug)
    names = _names(rows)
    return [
        _line(act, speaker, facts, names.get(speaker.entry.pk), people)
        for act, speaker, facts in zip(acts, speakers, shown, strict=True)
    ]


def _names(rows: list[AuditLog]) -> dict[int, ActName]:
    """What the apps call what the entries are about."""
    by_table: dict[str, list[AuditLog]] = defaultdict(list)
    for row in rows:
        by_table[row.resource_type].append(row)
    found: dict[int, ActName] = {}
    for _, teller in registry.every("act_tellers"):
        if teller.table in by_table:
            found |= teller.tell(by_table[teller.table])
    return found


class _Vocabulary:
    """The words of the apps for entries, and how telling those are that have none."""

    def __init__(self) -> None:
        self._declared = {words.name: words for _, words in registry.every("act_words")}
        self._bookkeeping = {*BOOKKEEPING, *registry.bookkeeping_tables()}

    def speaker(self, entries: list[AuditLog]) -> _Speaker:
        """The most telling entry; of several the last, which knows how it ended."""
        found = [_Speaker(entry, self._words(entry)) for entry in reversed(entries)]
        return min(found, key=lambda speaker: speaker.words.position)

    def _words(self, entry: AuditLog) -> ActWords:
        table, action, became = entry.resource_type, entry.action, cast(Any, entry).became or ""
        words = self._declared.get(f"{table}:{action}:{became}") or self._declared.get(f"{table}:{action}:")
        return words or ActWords(table=table, action=action, words="", position=self._position(table, action))

    def _position(self, table: str, action: str) -> int:
        if action.startswith("EFFECT_"):
            return _EFFECT
        if action not in WRITES:
            return _EVENT
        return _NOTED if table in self._bookkeeping else _WRITE + list(WRITES).index(action)


def _line(
    act: Act, speaker: _Speaker, shown: Mapping[str, Any], name: ActName | None, people: Mapping[uuid.UUID, User]
) -> ActLine:
    entries = act.entries[:ENTRIES_READ]
    return ActLine(
        at=act.at,
        sentence=_sentence(speaker, shown, name, _others(act, speaker.entry)),
        state=(name.state if name else "") or speaker.words.state or shown["state"],
        shown=shown,
        entries=tuple(_entry_line(entry, people) for entry in entries[:ENTRIES_SHOWN]),
        count=len(entries),
        has_more=act.has_more,
        all_query=_all_query(act),
    )


def _sentence(speaker: _Speaker, shown: Mapping[str, Any], name: ActName | None, others: str) -> str:
    if name is not None:
        said = _said(speaker, shown, name.name)
        return f"{said}: {name.more}" if name.more else said
    said = _said(speaker, shown, f"“{shown['name']}”" if shown["name"] else "")
    return f"{said} and {others}" if others else said


def _said(speaker: _Speaker, shown: Mapping[str, Any], called: str) -> str:
    if speaker.words.words:
        return " ".join(speaker.words.words.format(name=called or shown["kind"]).split())
    if speaker.entry.action in WRITES:
        return f"{WRITES[speaker.entry.action]} {shown['kind']} {called}".strip()
    return ": ".join(part for part in (shown["action"], called or shown["call"]) if part)


def _others(act: Act, speaker: AuditLog) -> str:
    """How many other things the same was done to; '' for none. Not all entries of a long act are read."""
    if speaker.action not in WRITES:
        return ""
    alike = {
        entry.resource_id or entry.pk
        for entry in act.known
        if (entry.resource_type, entry.action) == (speaker.resource_type, speaker.action)
    }
    if len(alike) < 2:
        return ""
    more = counted(len(alike) - 1, "more", "more")
    return f"at least {more}" if act.has_more else more


def _entry_line(entry: AuditLog, people: Mapping[uuid.UUID, User]) -> EntryLine:
    action = registry.trail_actions().get(entry.action)
    words = action.words if action else entry.action.replace("_", " ").capitalize()
    kind = registry.noun(entry.resource_type)
    return EntryLine(
        entry.pk,
        action.state if action else "",
        f"{words} {kind}" if entry.action in WRITES else words,
        presenters.object_name(entry, people),
    )


def _all_query(act: Act) -> str:
    """The search that finds all entries of the act; of a transaction those of its time."""
    view = {"view": "entries"}
    if act.key.by != "transaction":
        return urlencode({**view, act.key.by: act.key.value})
    first = act.entries[0].created_at if act.entries else act.at
    until = act.at + timedelta(seconds=1)
    return urlencode({**view, "since": f"{first:%Y-%m-%dT%H:%M:%S}", "until": f"{until:%Y-%m-%dT%H:%M:%S}"})
