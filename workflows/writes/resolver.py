"""Ids and keys of the target while workflows are being created in it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from workflows.content import Fingerprint, fingerprint
from workflows.references import references, rewrite

from .items import PENDING, pending


class Resolver:
    """Which id in the target environment belongs to which key; learns the ids of what is created. Thread-safe.

    ``keys`` maps ids to keys, former ids included: a workflow that still calls a former id is *equal* by hash (it
    means the same workflow) but not *settled* (the call leads nowhere).
    """

    def __init__(self, keys: Mapping[str, str], *, known_ids: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._keys = dict(keys)
        self._moved: dict[str, str] = {}
        self._new: dict[str, str] = {}
        self._claimed = set(keys) | set(known_ids)

    @property
    def created(self) -> dict[str, str]:
        """Key → id of what was created through this resolver."""
        with self._lock:
            return dict(self._new)

    @property
    def moved(self) -> dict[str, str]:
        """Former id → present id."""
        with self._lock:
            return dict(self._moved)

    def learn(self, key: str, env_workflow_id: str, *, former: str | None = None) -> None:
        """Note that ``key`` now lives under ``env_workflow_id``."""
        with self._lock:
            self._keys[env_workflow_id] = key
            self._new[key] = env_workflow_id
            self._claimed.add(env_workflow_id)
            if former and former != env_workflow_id:
                self._keys.setdefault(former, key)
                self._moved[former] = env_workflow_id

    def claim(self, env_workflow_id: str) -> bool:
        """Claim an unknown workflow as the one whose creation got no answer; False if it is claimed already."""
        with self._lock:
            if env_workflow_id in self._claimed:
                return False
            self._claimed.add(env_workflow_id)
            return True

    def key_map(self) -> dict[str, str]:
        """Ids (former, pending ones too) → keys."""
        with self._lock:
            return {**self._keys, **{pending(k): k for k in self._new}}

    def hash_of(self, taken: Fingerprint) -> str:
        """The content hash of a fingerprint taken in the target environment."""
        with self._lock:
            keys = {
                ref: ref.removeprefix(PENDING) if ref.startswith(PENDING) else self._keys[ref]
                for ref in taken.workflow_refs
                if ref in self._keys or ref.startswith(PENDING)
            }
        return taken.content_hash(keys)

    def content_hash(self, content: Mapping[str, Any]) -> str:
        """The content hash of a portable workflow made for the target environment."""
        return self.hash_of(fingerprint(content))

    def is_settled(self, taken: Fingerprint) -> bool:
        """Whether every reference has the present id of its workflow."""
        with self._lock:
            return not any(r.startswith(PENDING) or r in self._moved for r in taken.workflow_refs)

    def settle(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """``content`` with pending and former references turned into present ids, as far as they are known."""
        called = [r.value for r in references(content) if r.kind == "workflow"]
        with self._lock:
            ids = {ref: self._moved[ref] for ref in called if ref in self._moved}
            for ref in called:
                key = ref.removeprefix(PENDING)
                if key != ref and key in self._new:
                    ids[ref] = self._new[key]
        if not ids:
            return dict(content)
        return rewrite(content, workflow_ids=ids, credentials={}).content
