"""Seals: the trail in batches, each a Merkle tree, chained to the one before and signed.

Entries are sealed in the order (epoch, transaction, id), and only below the oldest transaction that still runs: one
that commits late has a place that was not passed yet. Transaction numbers start lower when a dump is restored into
another cluster; entries written there belong to the next epoch (``opsconsole_trail_epoch``), which is sealed once the
one before can get no more entries.

What is hashed, and how, is written down in docs/adr/0007-trail.md; ``script/verify-trail`` does it again by itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from core import clock
from tenants.scope import platform_scope

from .keys import SealKey, seal_key, trusted_keys
from .models import AuditLog, Epoch, Seal
from .services import Event, record_events

BATCH_ENTRIES = 1000
READ_AT_ONCE = 20_000
FIRST_PREVIOUS = "0" * 64
#: What the trail calls a seal that none of ours has signed.
REJECTED = "TRAIL_SEAL_REJECTED"
MOST_STRANGE = 1000
LOCK = 0x7472_6169_6C  # "trail"

_MOMENT = "to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#: An entry as texts, in the order in which they are hashed; null is the empty text.
CANONICAL = (
    "id::text", "epoch::text", "transaction_id::text", _MOMENT, "tenant_id::text", "actor_id::text",
    "acting_as_id::text", "session_id::text", "operation_id::text", "cid", "source", "action::text", "action_name",
    "resource_type", "resource_id::text", "object_pk", "object_repr", "details::text", "host(remote_addr)",
    "database_role",
)  # fmt: skip
_TEXTS = [f"coalesce({column}, '')" for column in CANONICAL]
_HASHED = " || ".join(f"octet_length({text})::text || ':' || {text}" for text in _TEXTS)
LEAF_SQL = f"sha256('\\x00'::bytea || convert_to({_HASHED}, 'UTF8'))"


@dataclass(frozen=True, slots=True)
class SealedUpTo:
    """How far the trail is sealed: the last seal's number and chain value, and its last entry's place."""

    number: int = 0
    chain: str = FIRST_PREVIOUS
    epoch: int = 1
    xid: int = 0
    entry: int = 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry's place and digest."""

    xid: int
    entry: int
    month: str
    digest: bytes


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """SHA-256 over pairs, level by level; an odd one out goes up as it is."""
    level = list(leaves)
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


def chain_value(seal: Seal) -> bytes:
    """The digest of a seal's facts and of the chain before it: what is signed."""
    facts = {
        "number": seal.number, "epoch": seal.epoch, "first_xid": seal.first_xid, "first_id": seal.first_id,
        "last_xid": seal.last_xid, "last_id": seal.last_id, "entries": seal.entries, "month": seal.month,
        "root": seal.root, "previous": seal.previous, "key_id": seal.key_id,
        "sealed_at": seal.sealed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }  # fmt: skip
    lines = ["opsconsole-seal-1", *(f"{name}={value}" for name, value in facts.items())]
    return hashlib.sha256("\n".join(lines).encode()).digest()


def seal_trail(*, limit: int | None = None) -> int:
    """Seal what can be sealed, at most ``limit`` entries; how many were. Two at once do no harm."""
    key, done = seal_key(), 0
    while limit is None or done < limit:
        count = READ_AT_ONCE if limit is None else min(READ_AT_ONCE, limit - done)
        sealed = _seal_some(key, count)
        done += sealed
        if sealed == 0:
            return done
    return done


def _seal_some(key: SealKey, count: int) -> int:
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        last = _genuine_end(trusted_keys(key))
        epoch, settled = _open_epoch(cursor, last)
        if epoch == 0:
            return 0
        leaves = _leaves(cursor, last, epoch=epoch, settled=settled, count=count)
        Seal.objects.bulk_create(_seals(leaves, last, epoch, key), batch_size=100)
        return len(leaves)


def last_sealed() -> SealedUpTo:
    """Where the chain ends, by what its newest seal says."""
    seal = Seal.objects.defer("leaves").order_by("-number").first()
    return SealedUpTo() if seal is None else _end_of(seal)


def _end_of(seal: Seal) -> SealedUpTo:
    return SealedUpTo(seal.number, seal.chain, seal.epoch, seal.last_xid, seal.last_id)


def is_genuine(seal: Seal, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    """Whether a seal says what was sealed, and one of ours has signed it."""
    key = keys.get(seal.key_id)
    if key is None or chain_value(seal).hex() != seal.chain:
        return False
    try:
        key.verify(base64.b64decode(seal.signature), bytes.fromhex(seal.chain))
    except (InvalidSignature, ValueError):
        return False
    return True


def _genuine_end(keys: Mapping[str, Ed25519PublicKey]) -> SealedUpTo:
    """Where the chain of our own seals ends. Others above it are put on record and passed over, once.

    Whoever may append to the table could else end all sealing with one row. Such a row stays where it is, as evidence.
    """
    strange: list[Seal] = []
    for seal in Seal.objects.defer("leaves").order_by("-number")[:MOST_STRANGE]:
        if is_genuine(seal, keys):
            _put_on_record(strange)
            return _end_of(seal)
        strange.append(seal)
    if strange:
        raise ImproperlyConfigured(
            "None of the trail's newest seals was signed by OPSCONSOLE_SEAL_KEY or one of OPSCONSOLE_SEAL_PUBLIC_KEYS."
            " After a change of keys the old public key belongs into the latter."
        )
    return SealedUpTo()


def _put_on_record(strange: Sequence[Seal]) -> None:
    known = set(
        AuditLog.objects.filter(action=REJECTED, resource_type="audit_seal").values_list("details__number", flat=True)
        if strange
        else ()
    )
    record_events(
        Event(REJECTED, "audit_seal", name=f"Seal {seal.number}", details={"number": seal.number, "key": seal.key_id})
        for seal in strange
        if seal.number not in known
    )


def _open_epoch(cursor: Any, last: SealedUpTo) -> tuple[int, bool]:
    """The epoch to seal from now, and whether all of it is there; (0, False) while that cannot be told yet."""
    newest = Epoch.objects.order_by("-epoch").first()
    if newest is None or newest.epoch <= last.epoch:
        if not _was_restored(cursor, last):
            return last.epoch, False
        Epoch.objects.create(epoch=last.epoch + 1)
        return 0, False
    if newest.settled_xid is None:
        # From here on everybody sees the new epoch; who was under way before may still write into the old one.
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        Epoch.objects.filter(pk=newest.pk).update(settled_xid=int(cursor.fetchone()[0]))
        return 0, False
    cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
    if int(cursor.fetchone()[0]) < newest.settled_xid:
        return 0, False
    cursor.execute(
        "SELECT EXISTS (SELECT FROM audit_logentry WHERE epoch = %s AND (transaction_id, id) > (%s::xid8, %s))",
        [last.epoch, str(last.xid), last.entry],
    )
    return (last.epoch, True) if cursor.fetchone()[0] else (newest.epoch, False)


def _was_restored(cursor: Any, last: SealedUpTo) -> bool:
    """Whether this cluster counts its transactions from below what is sealed already."""
    cursor.execute(
        "SELECT %s > 0 AND pg_snapshot_xmin(pg_current_snapshot()) <= %s::xid8"
        " OR EXISTS (SELECT FROM audit_logentry WHERE epoch > %s)",
        [last.number, str(last.xid), last.epoch],
    )
    return bool(cursor.fetchone()[0])


def _leaves(cursor: Any, last: SealedUpTo, *, epoch: int, settled: bool, count: int) -> list[Leaf]:
    xid, entry = (last.xid, last.entry) if epoch == last.epoch else (0, 0)
    watermark = "" if settled else " AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())"
    cursor.execute(
        "SELECT e.transaction_id::text, e.id, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM'),"  # noqa: S608
        f" {LEAF_SQL} FROM audit_logentry e WHERE epoch = %s AND (transaction_id, id) > (%s::xid8, %s){watermark}"
        # By the column: the bare name would mean the text beside it, where 1000 comes before 999.
        " ORDER BY e.transaction_id, e.id LIMIT %s",
        [epoch, str(xid), entry, count],
    )
    return [Leaf(int(row[0]), row[1], row[2], bytes(row[3])) for row in cursor.fetchall()]


def _batches(leaves: Sequence[Leaf]) -> Iterator[Sequence[Leaf]]:
    """Runs of one month, so that a month can leave the trail whole."""
    start = 0
    for end in range(1, len(leaves) + 1):
        if end == len(leaves) or end - start == BATCH_ENTRIES or leaves[end].month != leaves[start].month:
            yield leaves[start:end]
            start = end


def _seals(leaves: Sequence[Leaf], last: SealedUpTo, epoch: int, key: SealKey) -> list[Seal]:
    seals, previous, number, now = [], last.chain, last_sealed().number, clock.now()
    for batch in _batches(leaves):
        number += 1
        digests = [leaf.digest for leaf in batch]
        seal = Seal(
            number=number, epoch=epoch, first_xid=batch[0].xid, first_id=batch[0].entry, last_xid=batch[-1].xid,
            last_id=batch[-1].entry, entries=len(batch), month=batch[0].month, root=merkle_root(digests).hex(),
            previous=previous, key_id=key.key_id, leaves=b"".join(digests), sealed_at=now,
        )  # fmt: skip
        value = chain_value(seal)
        seal.chain, seal.signature = value.hex(), key.sign(value)
        previous = seal.chain
        seals.append(seal)
    return seals


def seal_of(*, epoch: int, transaction_id: int, entry_id: int) -> Seal | None:
    """The seal that holds an entry, or None while it waits for one. Platform or tenant scope."""
    rows = Seal.objects.defer("leaves").extra(
        where=["(epoch, last_xid, last_id) >= (%s, %s::xid8, %s)"], params=[epoch, str(transaction_id), entry_id]
    )
    return rows.order_by("epoch", "last_xid", "last_id").first()
