"""A workflow as n8n holds it now, read once: what runs, the draft beside it, published, archived."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.content import Fingerprint, draft_of, fingerprint, is_archived, portable
from workflows.facts import facts_of

from .resolver import Resolver


@dataclass(frozen=True, slots=True)
class There:
    """``hash`` is of what runs (or of the draft, where nothing is published); ``draft_hash`` of the draft where that
    holds something else. ``settled``: every workflow that it calls is called where it lives now."""

    id: str
    raw: Mapping[str, Any]
    content: Mapping[str, Any]
    mark: Fingerprint
    hash: str
    settled: bool
    draft: Mapping[str, Any] | None
    draft_hash: str | None
    published: bool
    archived: bool

    @property
    def version_id(self) -> str:
        """The version of the draft, or of what runs where the two are one."""
        return str(self.raw.get("versionId") or "")

    @property
    def live_version_id(self) -> str:
        """The version that runs; empty where nothing does or this n8n has none."""
        return str(self.raw.get("activeVersionId") or "") if self.published else ""

    @property
    def editor(self) -> Mapping[str, Any]:
        """What the editor holds."""
        return self.draft if self.draft is not None else self.content

    @classmethod
    def read(cls, raw: Mapping[str, Any], resolver: Resolver) -> There:
        """From n8n's answer; raises ``ContentError`` where it cannot be read."""
        content, draft = portable(raw), draft_of(raw)
        mark = fingerprint(content)
        found = resolver.hash_of(mark)
        draft_hash = resolver.content_hash(draft) if draft is not None else None
        return cls(
            id=str(raw["id"]),
            raw=raw,
            content=content,
            mark=mark,
            hash=found,
            settled=resolver.is_settled(mark),
            draft=draft,
            draft_hash=draft_hash if draft_hash != found else None,
            published=bool(raw.get("active")),
            archived=is_archived(raw),
        )


def framed_alike(
    content: Mapping[str, Any], wanted: Mapping[str, Any], *, taken: Collection[str] | None = None
) -> bool:
    """Whether name and settings of ``content`` mean what those of ``wanted`` mean. Settings that only n8n itself gave
    are left out, and those that it does not take (``taken``: all that it does)."""
    framed = under(content, wanted)
    if fingerprint(framed) != fingerprint(content):
        return False
    has, should = facts_of(content).settings, facts_of(framed).settings
    return all(has.get(name) == value for name, value in should.items() if taken is None or name in taken)


def under(content: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the name and the settings of ``wanted``: n8n keeps those two without versions."""
    return {**content, "name": wanted.get("name") or "", "settings": wanted.get("settings") or {}}
