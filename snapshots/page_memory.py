"""What the last capture read from each page of an environment's list, so that an unchanged page costs its ETag.

Kept as a file beside the Git objects it speaks of, since it is worth nothing without them. It is a convenience: where
it is missing, torn or of another make, everything is read.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson

from core.texts import json_bytes
from workflows.content import NORMALIZATION_VERSION, Fingerprint, LiveVersion
from workflows.facts import Facts
from workflows.identity import SeenWorkflow
from workflows.n8n import CachedPage

from .manifest import CaptureFinding

logger = logging.getLogger(__name__)

_FORMAT = 5
"""Raised when what is remembered takes another shape."""


class StoredDraft(msgspec.Struct, frozen=True):
    """Where a draft's content is in Git, and its size."""

    bytes: int
    blob: str


class StoredContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a workflow's content is in Git, its size, and what it listens on, names and calls (n8n ids).

    ``calls`` is None where it calls all of ``refs``. ``blob`` is empty where nothing was stored.
    """

    bytes: int
    blob: str
    webhooks: list[str] = []
    refs: list[str] = []
    calls: list[str] | None = None
    draft: StoredDraft | None = None

    @property
    def called_ids(self) -> list[str]:
        return self.refs if self.calls is None else self.calls

    @property
    def draft_blob(self) -> str:
        return self.draft.blob if self.draft is not None else ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a capture made of one workflow."""

    seen: SeenWorkflow
    stored: StoredContent
    findings: tuple[CaptureFinding, ...] = ()


@dataclass(slots=True)
class PageMemory:
    """Address of a page to its ETag and ids (``pages``), and ETag to what its workflows came to (``taken``)."""

    pages: dict[str, CachedPage] = field(default_factory=dict)
    taken: dict[str, tuple[Taken, ...]] = field(default_factory=dict)

    def forget_without(self, blobs: frozenset[str]) -> None:
        """Forget each page of which a content is not among ``blobs``: it has to be read again."""
        for etag, workflows in list(self.taken.items()):
            if any(not blobs.issuperset(_blobs(one)) for one in workflows):
                del self.taken[etag]
        self.pages = {address: page for address, page in self.pages.items() if page.etag in self.taken}

    def save(self, path: Path, *, base_url: str) -> None:
        """Keep it for the next capture. A disk that refuses is no reason to fail one that is in Git already."""
        pages = {
            address: [page.etag, page.ids, page.next_cursor, [_packed(one) for one in self.taken[page.etag]]]
            for address, page in self.pages.items()
            if page.etag in self.taken
        }
        building = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            building.write_bytes(json_bytes({**_made_for(base_url), "pages": pages}))
            building.replace(path)
        except OSError as error:
            logger.warning("what was read could not be remembered: %s", error)
            building.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, *, base_url: str) -> PageMemory:
        """What was kept for this address, or nothing."""
        memory = cls()
        try:
            kept = orjson.loads(path.read_bytes())
            made_for = _made_for(base_url)
            if {name: kept[name] for name in made_for} != made_for:
                return memory
            for address, (etag, ids, following, workflows) in kept["pages"].items():
                memory.pages[address] = CachedPage(etag, tuple(ids), following)
                memory.taken[etag] = tuple(map(_unpacked, workflows))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError, msgspec.ValidationError) as error:
            logger.warning("what was remembered of an environment cannot be used, all is read: %s", error)
            return cls()
        return memory


def _blobs(taken: Taken) -> tuple[str, ...]:
    stored = taken.stored
    return (stored.blob, stored.draft.blob) if stored.draft is not None else (stored.blob,)


def memory_path(store: os.PathLike[str], environment_id: uuid.UUID) -> Path:
    """Where the memory of an environment lies in its tenant's store."""
    return Path(store) / f"opsconsole-pages-{environment_id}.json"


def _made_for(base_url: str) -> dict[str, Any]:
    return {"make": _FORMAT, "normalization": NORMALIZATION_VERSION, "base_url": base_url}


def _packed(taken: Taken) -> list[Any]:
    seen = taken.seen
    return [
        seen.env_workflow_id,
        seen.name,
        _parts(seen.fingerprint),
        seen.active,
        seen.tags,
        seen.version_id,
        seen.updated_at,
        seen.node_count,
        seen.credentials,
        seen.node_types,
        _parts(seen.draft) if seen.draft is not None else None,
        seen.facts.to_json(),
        seen.live.to_json() if seen.live is not None else None,
        seen.hosts,
        msgspec.to_builtins(taken.stored),
        msgspec.to_builtins(taken.findings),
    ]


def _unpacked(row: Iterable[Any]) -> Taken:
    workflow_id, name, parts, active, tags, version_id, updated_at, nodes, credentials, types, *rest = row
    draft, facts, live, hosts, stored, findings = rest
    seen = SeenWorkflow(
        env_workflow_id=workflow_id,
        name=name,
        fingerprint=_fingerprint(parts),
        active=active,
        tags=tuple(tags),
        version_id=version_id,
        updated_at=datetime.fromisoformat(updated_at) if updated_at else None,
        node_count=nodes,
        credentials=[(kind, called, known_as) for kind, called, known_as in credentials],
        node_types=tuple(types),
        draft=_fingerprint(draft) if draft else None,
        facts=msgspec.convert(facts, Facts),
        live=msgspec.convert(live, LiveVersion) if live else None,
        hosts=tuple(hosts),
    )
    return Taken(seen, msgspec.convert(stored, StoredContent), msgspec.convert(findings, tuple[CaptureFinding, ...]))


def _parts(of: Fingerprint) -> list[Any]:
    return [of.version, of.body, of.workflow_refs, of.credential_names, of.credential_ids, of.credential_types]


def _fingerprint(parts: Iterable[Any]) -> Fingerprint:
    version, body, *references = parts
    return Fingerprint(version, body, *map(tuple, references))
