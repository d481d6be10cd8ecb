"""Seals: nothing is skipped, and whatever a superuser does to the trail afterwards is found."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection

from audit import sealing
from audit.anchors import anchor
from audit.keys import SealKey, seal_key
from audit.models import AuditLog, Epoch, LogEntry, Seal
from audit.services import Event, place_hold, record_events, release_holds
from conftest import owner_connection
from core import clock
from tenants.scope import platform_scope
from tests.waiting import until

from .settling import settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_batches")]
SCRIPT = Path(__file__).parents[2] / "script" / "verify-trail"


def seal_all() -> int:
    settled()
    return sealing.seal_trail()


def write(count: int) -> None:
    """Events of the platform, each in a transaction of its own."""
    for number in range(count):
        with platform_scope():
            record_events([Event("NOTED", "things", name=f"Thing {number}", details={"n": number, "é": 'ü, "\n'})])


def verified(*extra: str, database: str = "") -> dict[str, Any]:
    """What the stand-alone script says: it runs in an empty environment and outside the checkout."""
    url = database or os.environ["DATABASE_OPERATOR_URL"]
    command = [sys.executable, "-I", str(SCRIPT), "--database", url, "--public-key", seal_key().public_text, "--json"]
    done = subprocess.run([*command, *extra], capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]})
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert bool(report["problems"]) == (done.returncode == 1)
    return report


def kinds(report: dict[str, Any]) -> set[str]:
    return {problem["kind"] for problem in report["problems"]}


def middle() -> tuple[int, int]:
    """The numbers of two neighbouring entries in the midst of a seal, each of a transaction of its own."""
    with platform_scope():
        seal = Seal.objects.order_by("-number")[1]
        ids = list(LogEntry.objects.filter(pk__gte=seal.first_id).order_by("pk").values_list("pk", flat=True)[1:3])
    return ids[0], ids[1]


def made_seal(*, number: int, last_xid: int, last_id: int, key: SealKey, previous: str = "0" * 64) -> Seal:
    """A seal of one entry, signed by ``key``."""
    seal = Seal(
        number=number, epoch=1, first_xid=1, first_id=1, last_xid=last_xid, last_id=last_id, entries=1, month="2026-01",
        root=bytes(32).hex(), previous=previous, key_id=key.key_id, leaves=bytes(32), sealed_at=clock.now(),
    )  # fmt: skip
    value = sealing.chain_value(seal)
    seal.chain, seal.signature = value.hex(), key.sign(value)
    return seal


def append(seal: Seal) -> None:
    """As anybody could who may write what the console writes."""
    with platform_scope():
        seal.save(force_insert=True)


@pytest.mark.parametrize("claims_our_key", [False, True])
def test_a_bogus_seal_does_not_end_all_sealing(live_cast: Any, claims_our_key: bool) -> None:
    """The application's role may append: a row of a stranger is passed over, put on record, and named."""
    write(12)
    seal_all()
    write(3)
    with platform_scope():
        last, newest = sealing.last_sealed(), LogEntry.objects.order_by("-pk")[0]
    private = Ed25519PrivateKey.generate()
    stranger = SealKey(private, seal_key().public if claims_our_key else private.public_key().public_bytes_raw())
    bogus = made_seal(
        number=last.number + 1, last_xid=newest.transaction_id, last_id=newest.pk, key=stranger, previous=last.chain
    )
    append(bogus)
    write(7)
    # What is noted of the bogus one is sealed by the next round where somebody's transaction is older.
    assert seal_all() + seal_all() == 3 + 7 + 1, "with the entry about the bogus one"
    write(2)
    assert seal_all() == 2
    with platform_scope():
        (noted,) = AuditLog.objects.filter(action=sealing.REJECTED)
        assert noted.details["number"] == bogus.number
    report = verified()
    assert {problem["seal"] for problem in report["problems"]} == {str(bogus.number)}, report["problems"]
    assert kinds(report) == ({"forged signature"} if claims_our_key else {"unknown key"})
    assert not report["facts"].get("unsealed")


@pytest.mark.parametrize("changes", [{"number": 2**63 - 1}, {"number": 2}, {"last_xid": 2**62}, {"last_id": 2**62}])
def test_a_seal_of_what_is_to_come_is_refused(live_cast: Any, changes: dict[str, int]) -> None:
    write(3)
    with platform_scope():
        newest = LogEntry.objects.order_by("-pk")[0]
    fits = {"number": 1, "last_xid": newest.transaction_id, "last_id": newest.pk}
    with pytest.raises(IntegrityError, match="does not fit"):
        append(made_seal(**(fits | changes), key=seal_key()))
    with pytest.raises(IntegrityError, match="does not follow"), platform_scope():
        Epoch.objects.create(epoch=2**31 - 1)
    assert seal_all() >= 3


def test_a_forgotten_old_key_is_said_and_nothing_is_sealed_twice(live_cast: Any, settings: Any) -> None:
    write(3)
    seal_all()
    old = seal_key().public_text
    settings.SEAL_KEY = base64.b64encode(bytes(32)).decode()
    with pytest.raises(ImproperlyConfigured, match="OPSCONSOLE_SEAL_PUBLIC_KEYS"):
        sealing.seal_trail()
    settings.SEAL_PUBLIC_KEYS = [old]
    write(2)
    assert seal_all() == 2
    assert verified("--public-key", old)["problems"] == []


def test_an_entry_that_is_given_an_older_time_is_found(live_cast: Any, superuser: Any) -> None:
    write(3)
    superuser.execute(
        "INSERT INTO audit_logentry (source, action, action_name, resource_type, timestamp, transaction_id, epoch)"
        " SELECT 'web', 3, 'X', 'things', now() - interval '2 days', pg_current_xact_id(), epoch"
        " FROM audit_logentry LIMIT 1"
    )
    write(3)
    seal_all()
    assert kinds(verified()) == {"back-dated"}


def test_all_is_sealed_once_and_verified(live_cast: Any) -> None:
    write(12)
    with platform_scope():
        count = LogEntry.objects.count()
    assert seal_all() == count
    assert seal_all() == 0
    report = verified()
    assert (report["problems"], report["facts"]["entries"]) == ([], count)
    write(2)
    assert verified()["facts"]["unsealed"] == 2
    assert seal_all() == 2


def test_an_entry_that_commits_late_is_sealed_later(live_cast: Any) -> None:
    seal_all()
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as late:
        late.execute("UPDATE users SET name = 'Late' WHERE id = %s", [live_cast.viewer.pk])
        write(7)  # later transactions, already committed
        assert sealing.seal_trail() == 0
    assert seal_all() == 8
    assert verified()["problems"] == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE audit_logentry SET actor_id = NULL, details = '{}' WHERE id = %(one)s", {"edited"}),
        ("UPDATE audit_logentry SET timestamp = timestamp + interval '1 microsecond' WHERE id = %(one)s", {"edited"}),
        ("DELETE FROM audit_logentry WHERE id = %(one)s", {"deleted"}),
        (
            "INSERT INTO audit_logentry (id, source, action, action_name, resource_type, transaction_id, epoch)"
            " SELECT 900000000, 'web', 3, 'X', 't', transaction_id, epoch FROM audit_logentry WHERE id = %(one)s",
            {"inserted"},
        ),
        (
            "UPDATE audit_logentry e SET transaction_id = o.transaction_id FROM audit_logentry o"
            " WHERE (e.id, o.id) IN ((%(one)s, %(two)s), (%(two)s, %(one)s))",
            {"edited"},
        ),
        ("DELETE FROM audit_logentry", {"deleted"}),
        ("DELETE FROM audit_seal WHERE number = 2", {"removed seal", "broken chain", "inserted"}),
        ("DELETE FROM audit_seal WHERE number = 1", {"removed seal", "broken chain", "inserted"}),
        ("UPDATE audit_seal SET entries = entries - 1 WHERE number = 2", {"edited seal"}),
        ("UPDATE audit_seal SET sealed_at = now() WHERE number = 2", {"edited seal"}),
        ("UPDATE audit_seal SET leaves = reverse(leaves) WHERE number = 2", {"edited seal"}),
        ("UPDATE audit_seal SET signature = %(forged)s WHERE number = 2", {"forged signature"}),
        (
            "UPDATE audit_seal s SET number = -s.number WHERE number IN (2, 3);"
            "UPDATE audit_seal s SET number = CASE number WHEN -2 THEN 3 ELSE 2 END WHERE number < 0",
            {"edited seal", "broken chain", "reordered"},
        ),
    ],
)
def test_tampering_is_found(live_cast: Any, superuser: Any, statement: str, expected: set[str]) -> None:
    write(12)
    seal_all()
    assert verified()["problems"] == []
    one, two = middle()
    for part in statement.split(";"):
        superuser.execute(part, {"one": one, "two": two, "forged": base64.b64encode(bytes(64)).decode()})
    report = verified()
    assert expected <= kinds(report), report["problems"]
    if expected in ({"edited"}, {"inserted"}, {"deleted"}) and "%(one)s" in statement:
        told = {problem.get("entry") for problem in report["problems"]}
        assert told <= {str(one), str(two), "900000000", None}, "only what was touched is named"


def test_a_cut_tail_and_a_chain_written_anew_are_found_by_the_anchor(
    live_cast: Any, superuser: Any, settings: Any
) -> None:
    write(12)
    seal_all()
    assert anchor() == [] and anchor() == []
    (said,) = [json.loads(line) for line in Path(settings.ANCHOR_FILE).read_text().splitlines()]
    elsewhere = ("--anchor", settings.ANCHOR_FILE)
    assert verified(*elsewhere)["problems"] == []
    superuser.execute("DELETE FROM audit_logentry WHERE id > (SELECT max(last_id) FROM audit_seal WHERE number = 2)")
    superuser.execute("DELETE FROM audit_seal WHERE number > 2")
    assert verified()["problems"] == [], "without an anchor nothing tells"
    assert kinds(verified(*elsewhere)) == {"cut tail"}
    # The console goes on and seals again: the anchored number is there, with another chain.
    write(80)
    seal_all()
    with platform_scope():
        assert Seal.objects.filter(number=said["number"]).exists()
    assert kinds(verified(*elsewhere)) == {"rewritten chain"}


def test_a_chain_made_with_another_key_is_found(live_cast: Any, superuser: Any, settings: Any) -> None:
    trusted = seal_key().public_text
    write(3)
    settings.SEAL_KEY = base64.b64encode(bytes(32)).decode()
    seal_all()
    stranger = seal_key()
    assert verified()["problems"] == []
    report = verified("--public-key", trusted)
    assert report["problems"] == []
    settings.SEAL_KEY = base64.b64encode(bytes(range(32))).decode()
    assert kinds(verified()) == {"unknown key"}
    # Named as ours, signed by another: the facts are signed too.
    private = Ed25519PrivateKey.generate()
    forger = SealKey(private, seal_key().public)
    assert forger.key_id != stranger.key_id
    with platform_scope():
        seals = list(Seal.objects.order_by("number"))
    for seal in seals:
        seal.key_id = forger.key_id
        value = sealing.chain_value(seal)
        superuser.execute(
            "UPDATE audit_seal SET key_id = %s, chain = %s, signature = %s WHERE number = %s",
            [seal.key_id, value.hex(), forger.sign(value), seal.number],
        )
    assert "forged signature" in kinds(verified())


def test_files_are_checked_as_well_as_a_database(live_cast: Any, tmp_path: Path) -> None:
    write(6)
    seal_all()
    printed = subprocess.run([sys.executable, str(SCRIPT), "--print-sql"], capture_output=True, text=True, check=True)
    for line in printed.stdout.splitlines():
        statement, _, name = line.removeprefix("\\copy ").partition(" TO ")
        with (
            psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator,
            operator.cursor().copy(f"COPY {statement} TO STDOUT (FORMAT csv)") as out,
        ):
            (tmp_path / name.split("'")[1]).write_bytes(b"".join(bytes(block) for block in out))
    key = ["--public-key", seal_key().public_text]
    files = ["--entries", str(tmp_path / "entries.csv"), "--seals", str(tmp_path / "seals.csv")]

    def check() -> int:
        return subprocess.run([sys.executable, "-I", str(SCRIPT), *files, *key], capture_output=True).returncode

    assert check() == 0
    path = tmp_path / "entries.csv"
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    rows[1][16] = "Another name"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert check() == 1


def test_a_dump_restored_where_transactions_count_from_below(live_cast: Any, superuser: Any) -> None:
    """Old entries that were not sealed yet, and new ones with lower transaction numbers: none is lost, none waits."""
    write(4)
    seal_all()
    write(3)
    # As after a restore: all that is there says it was written by transactions far ahead of this cluster's.
    ahead = 10_000_000
    superuser.execute(
        "UPDATE audit_logentry SET transaction_id = (transaction_id::text::bigint + %s)::text::xid8", [ahead]
    )
    superuser.execute("DELETE FROM audit_seal")
    with platform_scope():
        count = LogEntry.objects.count()
        entries = list(LogEntry.objects.order_by("transaction_id", "pk").values_list("transaction_id", "pk"))
    sealed_xid, sealed_id = entries[count - 4]
    append(made_seal(number=1, last_xid=sealed_xid, last_id=sealed_id, key=seal_key()))
    write(6)
    with platform_scope():
        assert set(LogEntry.objects.order_by("-pk").values_list("epoch", flat=True)[:6]) == {2}
    rounds: list[int] = []

    def all_is_sealed() -> bool:
        rounds.append(seal_all())
        return sum(rounds) >= 3 + 6

    # Each epoch waits for transactions of its own, those of other tests as well.
    until("both epochs are sealed", all_is_sealed, seconds=300)
    assert sum(rounds) == 3 + 6
    write(2)
    assert seal_all() == 2
    with platform_scope():
        assert list(Epoch.objects.values_list("epoch", flat=True)) == [2]
        seals = list(Seal.objects.filter(number__gt=1).order_by("number").values_list("epoch", "entries"))
    assert [epoch for epoch, _ in seals] == sorted(epoch for epoch, _ in seals)
    assert sum(entries for _, entries in seals) == 11


def test_months_leave_whole_and_sealed_and_not_while_held(live_cast: Any, superuser: Any, settings: Any) -> None:
    superuser.execute(
        "CREATE TABLE audit_logentry_2001_02 PARTITION OF audit_logentry"
        " FOR VALUES FROM ('2001-02-01 00:00+00') TO ('2001-03-01 00:00+00')"
    )
    superuser.execute("ALTER TABLE audit_logentry_2001_02 OWNER TO opsconsole_owner")
    superuser.execute(
        "INSERT INTO audit_logentry (source, action, action_name, resource_type, timestamp, tenant_id)"
        " SELECT 'web', 3, 'OLD', 't', '2001-02-03 04:05:06+00', %s FROM generate_series(1, 7)",
        [live_cast.tenant.pk],
    )
    with pytest.raises(CommandError, match="0 are sealed"):
        call_command("trail_retention", "--keep-months", "12")
    seal_all()
    place_hold(tenant_id=live_cast.tenant.pk, reason="A dispute about February")
    with pytest.raises(CommandError, match=r"hold keeps 2001-02: acme"):
        call_command("trail_retention", "--keep-months", "12")
    assert release_holds(tenant_id=live_cast.tenant.pk) == 1
    call_command("trail_retention", "--keep-months", "12", "--drop")
    with platform_scope():
        assert not LogEntry.objects.filter(action_name="OLD").exists()
    report = verified()
    assert report["problems"] == [] and report["facts"]["retired seals"] == 2
    # The same without the event that says so is a deletion.
    superuser.execute("DELETE FROM audit_logentry WHERE action_name = 'TRAIL_MONTH_RETIRED'")
    assert kinds(verified()) == {"deleted"}


def test_the_application_cannot_unseal(live_cast: Any) -> None:
    write(1)
    seal_all()
    for statement in ("DELETE FROM audit_seal", "UPDATE audit_seal SET root = ''", "DELETE FROM audit_epoch"):
        with pytest.raises(Exception, match=r"denied|refused"), platform_scope(), connection.cursor() as cursor:
            cursor.execute(statement)
    with owner_connection() as owner, pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute("UPDATE audit_seal SET root = ''")


def test_a_key_is_made_once_where_none_is_set(settings: Any, tmp_path: Path) -> None:
    settings.SEAL_KEY, settings.HOME = "", tmp_path
    assert seal_key().public == seal_key().public
    assert (tmp_path / "seal.key").stat().st_mode & 0o077 == 0
    settings.PRODUCTION = True
    with pytest.raises(Exception, match="OPSCONSOLE_SEAL_KEY"):
        settings.SEAL_KEY = "not base64!"
        seal_key()
