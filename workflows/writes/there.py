"""A workflow as it is in n8n now: what runs, the draft beside it, and whether it is published or archived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.content import Fingerprint, draft_of, fingerprint, is_archived, portable
from workflows.facts import facts_of, only, without
from workflows.n8n.spec import Capabilities

from .resolver import Resolver


@dataclass(frozen=True, slots=True)
class There:
    """``hash`` is of what runs (or of the draft, where nothing is published); ``draft_hash`` of the draft where that
    holds something else. ``settled``: it calls every workflow by its present id."""

    id: str
    raw: Mapping[str, Any]
    content: Mapping[str, Any]
    fingerprint: Fingerprint
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
        what_runs = fingerprint(content)
        content_hash = resolver.hash_of(what_runs)
        draft_hash = resolver.content_hash(draft) if draft is not None else None
        return cls(
            id=str(raw["id"]),
            raw=raw,
            content=content,
            fingerprint=what_runs,
            hash=content_hash,
            settled=resolver.is_settled(what_runs),
            draft=draft,
            draft_hash=draft_hash if draft_hash != content_hash else None,
            published=bool(raw.get("active")),
            archived=is_archived(raw),
        )


def framed_alike(content: Mapping[str, Any], wanted: Mapping[str, Any], spec: Capabilities) -> bool:
    """Whether what n8n keeps without versions is in ``content`` as in ``wanted``, as far as this n8n takes it.

    Settings that n8n itself has set are left out.
    """
    if fingerprint(under(content, wanted)) != fingerprint(content):
        return False
    return not any(spec.takes(path) for path in _unlike(content, wanted))


def residues(content: Mapping[str, Any], wanted: Mapping[str, Any], spec: Capabilities) -> list[dict[str, str]]:
    """Parts that no hash covers and that differ in ``content`` from ``wanted``, each with the reason."""
    taken, refused = "n8n keeps it otherwise than it was written.", "This version of n8n does not take it."
    return [{"path": path, "reason": taken if spec.takes(path) else refused} for path in _unlike(content, wanted)]


def _unlike(content: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Paths of wanted facts that n8n keeps without versions, where ``content`` does not have them so."""
    has, should = facts_of(content), facts_of(under(content, wanted))
    found = [f"settings.{name}" for name, value in should.settings.items() if has.settings.get(name) != value]
    return found if should.description in (None, has.description) else [*found, "description"]


def under(content: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the name, the settings and the description of ``wanted``: n8n keeps them without versions."""
    framed = {**without(content, ("description",)), **only(wanted, ("description",))}
    return {**framed, "name": wanted.get("name") or "", "settings": wanted.get("settings") or {}}
