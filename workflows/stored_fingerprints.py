"""The fingerprint of a workflow as it is kept on a row, so that hashes can follow when a reference gets another key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from .content import Fingerprint


class StoredFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """``v`` is the version of the normalization; ``types`` are the node types, by which a workflow is recognized.

    ``refs`` are ids of workflows, ``creds`` names of credentials. Rows of older consoles lack ``cred_ids``,
    ``cred_types`` or ``hosts``. ``draft`` is there only where the draft differs from what runs.
    """

    v: int
    body: str
    refs: list[str]
    creds: list[str]
    cred_ids: list[str] | UnsetType = UNSET
    cred_types: list[str] = []
    types: list[str] | UnsetType = UNSET
    hosts: list[str] | UnsetType = UNSET
    draft: StoredFingerprint | UnsetType = UNSET

    def fingerprint(self) -> Fingerprint:
        """What hashes are made of."""
        ids = [""] * len(self.creds) if self.cred_ids is UNSET else self.cred_ids
        return Fingerprint(self.v, self.body, tuple(self.refs), tuple(self.creds), tuple(ids), tuple(self.cred_types))

    def node_types(self) -> frozenset[str]:
        """Empty where they are not known."""
        return frozenset() if self.types is UNSET else frozenset(self.types)


def stored_fingerprint(
    of: Fingerprint,
    node_types: Iterable[str] = (),
    draft: Fingerprint | None = None,
    *,
    hosts: Iterable[str] | None = None,
) -> dict[str, Any]:
    """The document for a row; the draft's is inside. ``hosts`` None: they are not known."""
    stored = _stored(of, types=sorted(set(node_types)), draft=_stored(draft) if draft is not None else UNSET)
    if hosts is not None:
        stored = msgspec.structs.replace(stored, hosts=sorted(set(hosts)))
    document: dict[str, Any] = msgspec.to_builtins(stored)
    return document


def _stored(
    of: Fingerprint, types: list[str] | UnsetType = UNSET, draft: StoredFingerprint | UnsetType = UNSET
) -> StoredFingerprint:
    return StoredFingerprint(
        v=of.version,
        body=of.body,
        refs=list(of.workflow_refs),
        creds=list(of.credential_names),
        cred_ids=list(of.credential_ids),
        cred_types=list(of.credential_types),
        types=types,
        draft=draft,
    )


def read_fingerprint(document: Any) -> StoredFingerprint | None:
    """The document of a row, or None where there is none. Raises ``msgspec.ValidationError`` for anything else."""
    return msgspec.convert(document, StoredFingerprint) if document else None


def loaded_fingerprint(document: Any) -> Fingerprint | None:
    """What the hashes of a row are made of, or None."""
    stored = read_fingerprint(document)
    return stored.fingerprint() if stored is not None else None


def loaded_draft_fingerprint(document: Any) -> Fingerprint | None:
    """The same of the draft, where it differs from what runs."""
    stored = read_fingerprint(document)
    return stored.draft.fingerprint() if stored is not None and stored.draft is not UNSET else None
