"""What is to be written, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from workflows.references import references

PENDING = "opsconsole-pending:"
"""Prefix of a reference to a workflow that has no id in the target yet; the canonical key follows."""


def pending(key: str) -> str:
    """The placeholder in a content for the id of a workflow that is created together with it."""
    return PENDING + key


Content = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Release:
    """What n8n's own history says of a version that is published."""

    name: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class WriteItem:
    """One workflow to be brought into a state.

    ``content`` is what is to run (or the only content, where nothing is published): portable and made for the target
    environment; references to workflows without an id there are ``pending(key)``. It may be a function that loads it,
    so that thousands of items need no memory. ``draft`` is what its editor is to hold beside that; None: the same.

    ``expected_hash`` is what must be there now (None: whatever is there is replaced; ``also_expected`` are other
    hashes that are ours), ``wanted_hash`` what must be there afterwards. ``expected_drafts`` are the drafts that may be
    overwritten (None among them: that there is none); without it any may. ``active`` (published), ``archived``,
    ``tags`` and ``folder`` (an id of this n8n) None leave that as it is. ``expected_active`` is whether it should be
    published now (None: either).
    ``live_version_id`` names a version of n8n's own history that is expected to hold the content.

    ``action`` is ``create``, ``update`` or ``delete``; an update of a workflow that is gone creates it anew
    unless ``create_if_missing`` is off. ``may_rest``: it stays unpublished where n8n refuses to publish it.
    ``may_be_there``: an earlier pass of the same job may have created it, so that is looked for first.
    """

    key: str
    name: str
    title: str
    action: str
    wanted_hash: str | None = None
    env_workflow_id: str | None = None
    content: Content | None = None
    active: bool | None = None
    expected_active: bool | None = None
    archived: bool | None = None
    tags: Sequence[str] | None = None
    folder: str | None = None
    expected_hash: str | None = None
    also_expected: frozenset[str] = frozenset()
    draft: Content | None = None
    wanted_draft_hash: str | None = None
    expected_drafts: frozenset[str | None] | None = None
    live_version_id: str = ""
    release: Release = Release()
    needs: frozenset[str] | None = None
    create_if_missing: bool = True
    may_rest: bool = False
    may_be_there: bool = False

    def load(self) -> Mapping[str, Any]:
        """The content, read if need be."""
        content = self.content() if callable(self.content) else self.content
        if content is None:
            raise ValueError(f"{self.key}: nothing to write")
        return content

    def load_draft(self) -> Mapping[str, Any] | None:
        """The draft that is to stand beside what runs, read if need be."""
        return self.draft() if callable(self.draft) else self.draft

    def needed_keys(self) -> frozenset[str]:
        """Keys of pending workflows that the content calls."""
        if self.needs is not None:
            return self.needs
        if self.action == "delete" or self.content is None:
            return frozenset()
        return pending_keys(self.load())

    def expects(self, found: str) -> bool:
        """Whether ``found`` may be overwritten."""
        return self.expected_hash is None or found == self.expected_hash or found in self.also_expected

    def expects_draft(self, found: str | None) -> bool:
        """Whether the draft that is there now (None: none beside what runs) may be overwritten."""
        return self.expected_drafts is None or found in self.expected_drafts

    def was_switched(self, active: bool) -> bool:
        """Whether somebody has published or unpublished it since, unless the write would do the same."""
        return self.expected_active is not None and active not in (self.expected_active, self.active)


def pending_keys(content: Mapping[str, Any]) -> frozenset[str]:
    """The keys of the pending workflows that a content calls."""
    return frozenset(
        r.value.removeprefix(PENDING)
        for r in references(content)
        if r.kind == "workflow" and r.value.startswith(PENDING)
    )


class Written(msgspec.Struct, omit_defaults=True):
    """The outcome of one item, kept as a step's result. Fields are only ever added, with defaults.

    ``outcome``: created, updated, skipped, deleted or failed.
    ``version_id`` is the draft's, ``live_version_id`` that of what runs. ``staged`` is the version that waits as a
    draft to be published, ``draft_hash`` the hash of the draft where that is not what runs. ``listening`` says of each
    production address whether n8n answers there. ``holds_back``: name and settings wait for the publishing;
    ``leaves_draft`` is the draft that our own publishing will leave in the editor. ``rests``: it is to be unpublished,
    and waits until what calls it has been cut over; ``calls`` are the ids that what runs of it calls.
    """

    key: str
    name: str
    outcome: str
    env_workflow_id: str = ""
    former_id: str = ""
    content_hash: str = ""
    version_id: str = ""
    live_version_id: str = ""
    staged: str = ""
    holds_back: bool = False
    draft_hash: str = ""
    leaves_draft: str = ""
    rests: bool = False
    calls: list[str] = []
    active: bool | None = None
    listening: dict[str, str] = {}
    left: list[dict[str, str]] = []
    error: dict[str, Any] | None = None

    @property
    def was_written(self) -> bool:
        """Whether n8n was changed."""
        return self.outcome in ("created", "updated", "deleted")

    def to_json(self) -> dict[str, Any]:
        """For a step's result; what is empty is left out."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Written:
        """From a step's result. Raises ``msgspec.ValidationError`` where it is none."""
        return msgspec.convert(stored, cls)


def named_once(left: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """What could not be written, each path with the first of its reasons."""
    found: dict[str, dict[str, str]] = {}
    for row in left:
        found.setdefault(row["path"], dict(row))
    return list(found.values())
