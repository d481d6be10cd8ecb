"""The trail's commands, its anchor over HTTP, and the stand-alone verifier with nothing but psql."""

from __future__ import annotations

import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client

from audit import anchors, sealer
from audit.keys import seal_key
from audit.models import AuditLog, LegalHold, Seal
from audit.sealing import last_sealed
from opsconsole.launcher.development import development_tools
from tenants.scope import platform_scope, tenant_scope

from .settling import settled
from .test_sealing import SCRIPT, middle, seal_all, verified, write

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_batches")]
SECRET = "s3cret-path"


def command(*arguments: str) -> str:
    """What a command prints; fails as it does."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def refusal(*arguments: str) -> tuple[int, str]:
    """How a command ends for a shell, and what it says."""
    with pytest.raises(CommandError) as refused:
        call_command(*arguments, stdout=io.StringIO())
    return refused.value.returncode, str(refused.value)


class Log:
    """A log elsewhere that takes the heads of the chain, or does not."""

    def __init__(self) -> None:
        self.status = 200
        self.heads: list[dict[str, Any]] = []
        self.asked = 0
        log = self

        class RequestOrigin(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                log.asked += 1
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if log.status == 200:
                    log.heads.append(body)
                self.send_response(log.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RequestOrigin)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}?token={SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def log(settings: Any) -> Iterator[Log]:
    made = Log()
    settings.ANCHOR_URL = made.url
    yield made
    made.server.shutdown()
    made.server.server_close()


def events(action: str) -> list[AuditLog]:
    with platform_scope():
        return list(AuditLog.objects.filter(action=action).order_by("pk"))


def minute() -> None:
    """What the sealer does each minute."""
    settled()
    sealer.seal_once()


# ---- seal_trail, verify_trail, trail_hold


def test_sealing_and_verifying_by_hand(live_cast: Any, settings: Any) -> None:
    write(7)
    settled()
    said = command("seal_trail")
    with platform_scope():
        sealed = last_sealed()
    assert said.endswith(f"entries sealed; seal {sealed.number}, {sealed.chain}.") and not said.startswith("0 ")
    assert command("seal_trail").startswith("0 entries sealed")
    assert command("seal_trail", "--public-key") == seal_key().public_text
    told = command("verify_trail")
    assert "The trail is whole." in told and "1 anchors compared." in told
    assert json.loads(command("verify_trail", "--json"))["head"] == f"{sealed.number} {sealed.chain}"


def test_verifying_tells_tampering_from_what_could_not_be_checked(
    live_cast: Any,
    superuser: Any,
    settings: Any,
    tmp_path: Path,
) -> None:
    write(12)
    seal_all()
    anchors.anchor()
    superuser.execute("UPDATE audit_logentry SET object_repr = 'Another' WHERE id = %s", [middle()[0]])
    assert refusal("verify_trail") == (1, "The trail is not whole.")
    code, why = refusal("verify_trail", "--anchor", str(tmp_path / "nowhere.jsonl"))
    assert code == 2 and "nowhere.jsonl" in why
    settings.SEAL_PUBLIC_KEYS = ["no key"]
    code, why = refusal("verify_trail")
    assert code == 2 and "not a public key" in why
    settings.SEAL_PUBLIC_KEYS = []
    settings.DATABASE_OPERATOR_URL = settings.DATABASE_OPERATOR_URL.rpartition("/")[0] + "/no_such_database"
    code, why = refusal("verify_trail")
    assert code == 2 and "no_such_database" in why
    settings.DATABASE_OPERATOR_URL = ""
    assert refusal("verify_trail")[1].startswith("DATABASE_OPERATOR_URL is not set")


def test_holds_by_hand(live_cast: Any) -> None:
    def holds() -> list[tuple[str, bool]]:
        with tenant_scope(live_cast.tenant.pk):
            rows = LegalHold.objects.order_by("created_at")
            return [(row.reason, row.released_at is None) for row in rows]

    assert refusal("trail_hold", "nobody", "--reason", "A dispute about it") == (
        1,
        "No tenant has the short name nobody.",
    )
    assert "ten characters" in refusal("trail_hold", "acme", "--reason", "short")[1] and holds() == []
    assert "Acme Robotics is kept" in command("trail_hold", "acme", "--reason", "Dispute 2026/17")
    command("trail_hold", "acme", "--reason", "Another dispute")
    assert holds() == [("Dispute 2026/17", True), ("Another dispute", True)]
    assert command("trail_hold", "acme", "--release") == "2 holds released."
    assert command("trail_hold", "acme", "--release") == "0 holds released."
    assert [in_force for _, in_force in holds()] == [False, False]
    with tenant_scope(live_cast.tenant.pk):
        entries = AuditLog.objects.filter(resource_type="legal_holds").order_by("pk")
        assert [row.action for row in entries] == ["CREATE", "CREATE", "UPDATE", "UPDATE"]


# ---- the anchor over HTTP


def test_a_head_goes_to_the_log_elsewhere(live_cast: Any, log: Log, settings: Any) -> None:
    write(6)
    minute()
    with platform_scope():
        newest = Seal.objects.order_by("-number").first()
    assert newest is not None
    (head,) = log.heads
    assert (head["number"], head["chain"], head["signature"]) == (newest.number, newest.chain, newest.signature)
    minute()
    assert log.asked == 1, "nothing new is sealed, nothing is sent"
    said = [json.loads(line) for line in Path(settings.ANCHOR_FILE).read_text().splitlines()]
    assert said == log.heads
    assert anchors.failing() is None and events(anchors.FAILED) == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_log_that_fails_is_named_tried_again_and_told_and_nothing_is_lost(
    live_cast: Any, log: Log, settings: Any, client: Client, gone: bool, tmp_path: Path
) -> None:
    if gone:
        settings.ANCHOR_URL = f"http://127.0.0.1:9/{SECRET}"
    log.status = 503
    write(6)
    minute()
    what = "ConnectError" if gone else "answered 503"
    (event,) = events(anchors.FAILED)
    assert event.details["problems"] == [f"127.0.0.1: {what}"] and event.source == "system"
    (message,) = mail.outbox
    assert message.to == [live_cast.admin.email] and what in message.body
    assert SECRET not in message.body + str(event.details)
    assert client.get("/health/detailed").json()["components"]["trail"]["status"] == "failed"

    minute()  # seals the event about it
    minute()  # nothing new: tried all the same
    assert len(mail.outbox) == 1 and len(events(anchors.FAILED)) == 1, "told once"
    if not gone:
        assert log.asked == 3
    write(5)
    code, why = refusal("seal_trail") if not gone else (1, "Not anchored")
    assert code == 1 and why.startswith("Not anchored")

    log.status, settings.ANCHOR_URL = 200, log.url
    minute()
    (head,) = log.heads
    (over,) = events(anchors.AGAIN)
    assert over.details["number"] == head["number"] and anchors.failing() is None
    assert client.get("/health/detailed").json()["components"]["trail"]["status"] == "ok"
    minute()
    minute()
    assert log.heads[-1]["number"] > head["number"] and len(log.heads) == 2, "the event of the recovery, and then rest"
    with platform_scope():
        assert Seal.objects.count() == log.heads[-1]["number"]
    received = tmp_path / "received.jsonl"
    received.write_text("".join(json.dumps(each) + "\n" for each in log.heads))
    assert verified("--anchor", str(received))["problems"] == []


def test_a_file_that_cannot_be_written_is_told_too(live_cast: Any, settings: Any, tmp_path: Path) -> None:
    settings.ANCHOR_FILE = str(tmp_path / "no" / "such" / "folder" / "anchors.jsonl")
    write(3)
    minute()
    assert "no/such/folder" in events(anchors.FAILED)[0].details["problems"][0]
    Path(settings.ANCHOR_FILE).parent.mkdir(parents=True)
    minute()
    assert len(events(anchors.AGAIN)) == 1
    assert len(Path(settings.ANCHOR_FILE).read_text().splitlines()) == 1


# ---- the verifier where psycopg is not


WITHOUT_PSYCOPG = (
    "import runpy, sys; sys.modules['psycopg'] = None; sys.argv = sys.argv[1:];"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def with_psql(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """The script as on a machine that has psql and no psycopg."""
    tools = str(development_tools().postgres_binaries())
    environment = {
        "PATH": tools if path is None else path,
        "VERIFY_TRAIL_DATABASE": os.environ["DATABASE_OPERATOR_URL"],
    }
    key = ["--public-key", seal_key().public_text]
    run = [sys.executable, "-I", "-c", WITHOUT_PSYCOPG, str(SCRIPT), *key, *arguments]
    return subprocess.run(run, capture_output=True, text=True, cwd="/", env=environment, check=False)


def test_psql_alone_finds_the_same(live_cast: Any, superuser: Any, settings: Any) -> None:
    write(12)
    seal_all()
    anchors.anchor()
    anchored = ("--anchor", settings.ANCHOR_FILE)
    whole = with_psql("--json", *anchored)
    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout) == verified(*anchored)
    one, _ = middle()
    superuser.execute("DELETE FROM audit_logentry WHERE id = %s", [one])
    superuser.execute("DELETE FROM audit_seal WHERE number = (SELECT max(number) FROM audit_seal)")
    found = with_psql("--json", *anchored)
    assert found.returncode == 1
    assert json.loads(found.stdout) == verified(*anchored)
    assert {"deleted", "cut tail"} <= {problem["kind"] for problem in json.loads(found.stdout)["problems"]}
    assert "TAMPERING WAS FOUND." in with_psql(*anchored).stdout


def test_what_psql_cannot_check_is_not_called_tampering(live_cast: Any) -> None:
    write(3)
    seal_all()
    nobody = os.environ["DATABASE_OPERATOR_URL"].rpartition("/")[0] + "/no_such_database"
    failed = with_psql("--database", nobody)
    assert failed.returncode == 2 and "no_such_database" in failed.stderr
    nothing = with_psql(path="/nowhere")
    assert nothing.returncode == 2 and "neither the package psycopg nor the program psql" in nothing.stderr
