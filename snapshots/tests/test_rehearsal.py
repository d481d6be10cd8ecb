"""A rehearsal says of every workflow what another n8n would make of it, and leaves nothing behind."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from core.errors import Invalid
from operations.errors import Busy
from operations.models import Operation
from snapshots.models import Rehearsal, Snapshot
from snapshots.rehearsal import rules, scratch, selectors, services
from snapshots.rehearsal.documents import Report, report_from
from snapshots.rehearsal.errors import NothingToRehearse, OneAtATime, RehearsalsOff
from tenants.scope import tenant_scope
from workflows.models import Environment

from .conftest import caller, workflow

pytestmark = pytest.mark.django_db(transaction=True)

FAKE = Path(__file__).with_name("fake_scratch.py")


@pytest.fixture(autouse=True)
def command(settings: Any, tmp_path: Path) -> None:
    settings.REHEARSAL_COMMAND = f"{shlex.quote(sys.executable)} {shlex.quote(str(FAKE))}"
    settings.REHEARSALS_ROOT = tmp_path / "rehearsals"


def node(name: str, kind: str, **parameters: Any) -> dict[str, Any]:
    kind = kind if "." in kind else f"n8n-nodes-base.{kind}"
    return {"id": name, "name": name, "type": kind, "typeVersion": 1, "position": [0, 0], "parameters": parameters}


def of(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "nodes": list(nodes), "connections": {}, "settings": {}, **more}


def rehearse(
    environment: Environment, run_operations: Any, tenant: Any, **asked: Any
) -> tuple[Operation, Report | None]:
    made, operation = services.start_rehearsal(
        tenant_id=tenant.pk, environment_id=environment.pk, requested_by=None, **{"version": "2.0.3", **asked}
    )
    run_operations(tenant)
    with tenant_scope(tenant.pk):
        done = Operation.objects.get(pk=operation.pk)
        return done, report_from(Rehearsal.objects.get(pk=made.pk).report)


def test_every_workflow_is_told_what_becomes_of_it(
    environment: Environment, n8n: Any, capture: Any, run_operations: Any, live_cast: Any
) -> None:
    called = n8n.seed(
        [
            of("Usable", node("Called", "executeWorkflowTrigger")),
            of("No inputs", node("Called", "executeWorkflowTrigger", workflowInputs={"values": []})),
            of("Hooked", node("Called", "executeWorkflowTrigger"), node("Hook", "webhook", path="x")),
        ]
    )
    n8n.seed(
        [
            workflow("Plain"),
            of("Secrets", node("Code", "code", jsCode="return $env.KEY")),
            of("Strange", node("X", "n8n-nodes-strange.thing")),
            caller("Calls usable", called[0]["id"]),
            caller("Calls the other", called[1]["id"]),
        ]
    )
    capture()
    before = n8n.state()["workflows"]
    n8n.clear_calls()
    operation, report = rehearse(environment, run_operations, live_cast.tenant)
    assert operation.status == "COMPLETED", operation.error_message
    assert report is not None
    found = {w.name: (w.outcome, sorted({f.rule for f in w.findings})) for w in report.workflows}
    assert found == {
        "Usable": ("fine", []),
        "No inputs": ("differs", ["not_published_by_n8n"]),
        "Hooked": ("differs", ["awakened"]),
        "Plain": ("fine", []),
        "Secrets": ("differs", ["environment_blocked"]),
        "Strange": ("differs", ["node_type"]),
        "Calls usable": ("fine", []),
        "Calls the other": ("differs", ["callee_not_published"]),
    }
    assert report.unknown_types == ("n8n-nodes-strange.thing 1",)
    assert operation.result["counts"] == {"refused": 0, "differs": 5, "changed": 0, "fine": 3, "not_tried": 0}
    assert n8n.calls() == [], "the environment itself is not even asked"
    assert n8n.state()["workflows"] == before


def test_what_it_refuses_is_told_in_its_own_words_and_what_it_changes_as_a_difference(
    environment: Environment, n8n: Any, capture: Any, run_operations: Any, live_cast: Any, monkeypatch: Any
) -> None:
    from workflows.n8n.client import N8nClient
    from workflows.n8n.errors import Rejected

    n8n.seed([workflow("A"), workflow("B")])
    capture()
    real = N8nClient.create_workflow

    def create(self: N8nClient, content: Any) -> Any:
        if content["name"] == "A":
            raise Rejected(details={"n8n": "request/body/nodes must not be so"})
        if content["name"] == "B":
            content = {**content, "settings": {**content["settings"], "executionTimeout": 7}}
        return real(self, content)

    monkeypatch.setattr(N8nClient, "create_workflow", create)
    _, report = rehearse(environment, run_operations, live_cast.tenant)
    assert report is not None
    by_name = {w.name: w for w in report.workflows}
    assert (by_name["A"].outcome, by_name["A"].said) == ("refused", "request/body/nodes must not be so")
    assert by_name["B"].outcome == "changed"
    assert by_name["B"].changes
    lines = list(csv.DictReader(io.StringIO("".join(selectors.as_csv(report)), newline="")))
    assert [(row["workflow_name"], row["kind"]) for row in lines] == [("A", "refused"), ("B", "changed")]


def test_a_version_that_cannot_be_had_is_a_plain_error_with_the_commands_words(
    environment: Environment, n8n: Any, capture: Any, run_operations: Any, live_cast: Any, settings: Any
) -> None:
    n8n.seed([workflow("A")])
    capture()
    operation, report = rehearse(environment, run_operations, live_cast.tenant, version="9.9.9")
    assert (operation.status, report) == ("FAILED", None)
    assert operation.error_details["code"] == "REHEARSE_001"
    assert "No matching version found for n8n@9.9.9" in operation.error_message
    settings.REHEARSAL_COMMAND = "/nowhere/n8n scratch"
    operation, _ = rehearse(environment, run_operations, live_cast.tenant)
    assert operation.error_details["code"] == "REHEARSE_001"
    assert "script/n8n install" in operation.error_details["recovery"]


def test_an_n8n_that_ends_meanwhile_is_told(
    environment: Environment, n8n: Any, capture: Any, run_operations: Any, live_cast: Any, monkeypatch: Any
) -> None:
    from workflows.n8n.client import N8nClient
    from workflows.n8n.errors import Unreachable

    def gone(self: N8nClient, content: Any) -> Any:
        raise Unreachable

    n8n.seed([workflow("A")])
    capture()
    monkeypatch.setattr(N8nClient, "create_workflow", gone)
    operation, _ = rehearse(environment, run_operations, live_cast.tenant)
    told = operation.error_details
    assert told["code"] == "REHEARSE_002" and told["details"]["cause"]["code"] == "N8N_003"
    assert "The n8n of the rehearsal did not answer" in told["message"] and "may lack memory" in told["recovery"]


def test_a_rehearsal_ends_when_its_time_is_over(
    environment: Environment, n8n: Any, capture: Any, run_operations: Any, live_cast: Any, settings: Any
) -> None:
    n8n.seed([workflow("A")])
    capture()
    settings.REHEARSAL_SECONDS = 0
    operation, _ = rehearse(environment, run_operations, live_cast.tenant)
    told = operation.error_details
    assert told["code"] == "REHEARSE_003" and "longer than it may" in told["message"]
    assert "raise OPSCONSOLE_REHEARSAL_SECONDS" in told["recovery"]


def test_what_cannot_be_asked_for_is_refused_at_once(environment: Environment, n8n: Any, live_cast: Any) -> None:
    asked: dict[str, Any] = {"tenant_id": live_cast.tenant.pk, "environment_id": environment.pk, "requested_by": None}
    for version in ("", "latest", "2.41", "2.41.1; rm -rf /", "--help", "0.236.1", "1.122.9"):
        with pytest.raises(Invalid):
            services.start_rehearsal(**asked, version=version)
    with pytest.raises(NothingToRehearse):
        services.start_rehearsal(**asked, version="2.41.1")
    services.start_rehearsal(**asked, version="2.41.1", fresh=True)
    with pytest.raises(Busy):
        services.start_rehearsal(**asked, version="2.41.1", fresh=True)


def test_whoever_runs_the_console_may_switch_rehearsals_off(
    environment: Environment, live_cast: Any, settings: Any
) -> None:
    settings.REHEARSALS = False
    with pytest.raises(RehearsalsOff):
        services.start_rehearsal(
            tenant_id=live_cast.tenant.pk, environment_id=environment.pk, version="2.41.1", requested_by=None
        )


def test_it_may_capture_first(environment: Environment, n8n: Any, run_operations: Any, live_cast: Any) -> None:
    n8n.seed([workflow("A")])
    operation, report = rehearse(environment, run_operations, live_cast.tenant, fresh=True)
    assert operation.status == "COMPLETED", operation.error_message
    assert report is not None and [w.name for w in report.workflows] == ["A"]
    with tenant_scope(live_cast.tenant.pk):
        assert Snapshot.objects.count() == 1


def test_nothing_is_left_and_nothing_of_the_console_is_handed_over(
    settings: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    noted = tmp_path / "noted.json"
    monkeypatch.setenv("OPSCONSOLE_N8N_DIR", str(noted))
    monkeypatch.setenv("OPSCONSOLE_SECRET_KEY", "not for others")
    with scratch.alone() as root:
        with pytest.raises(OneAtATime), scratch.alone():
            pass
        with scratch.scratch("2.0.3", root / "one", deadline=time.monotonic() + 60, check=lambda: None) as (
            here,
            client,
        ):
            assert client.spec().known
            assert (root / "one" / "data").is_dir()
            told = json.loads(noted.read_text())
        assert not (root / "one").exists()
    assert not [name for name in told["environment"] if "SECRET" in name or name.startswith(("DATABASE", "REDIS"))]
    assert not alive(here.pid)


_HOLDER = """
import os, sys, time
import django
django.setup()
from pathlib import Path
from snapshots.rehearsal import scratch
with scratch.alone() as root:
    with scratch.scratch("2.0.3", root / "one", deadline=time.monotonic() + 60, check=lambda: None) as (here, _):
        print(here.pid, flush=True)
        time.sleep(600)
"""


def test_a_worker_that_is_killed_leaves_nothing_running(settings: Any, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "opsconsole.settings",
        "OPSCONSOLE_REHEARSAL_COMMAND": settings.REHEARSAL_COMMAND,
        "OPSCONSOLE_REHEARSALS_ROOT": str(tmp_path / "rehearsals"),
    }
    worker = subprocess.Popen([sys.executable, "-c", _HOLDER], env=environment, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    assert alive(pid)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)
    assert (tmp_path / "rehearsals" / "one").exists(), "what it left on the disk goes with the next rehearsal"
    with scratch.alone() as root:
        assert not (root / "one").exists()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_pages_start_it_and_show_what_it_found(
    environment: Environment, n8n: Any, capture: Any, run_operations: Any, live_cast: Any
) -> None:
    n8n.seed([workflow("Plain"), of("Secrets", node("Code", "code", jsCode="return $env.KEY"))])
    capture()
    client = Client()
    client.force_login(live_cast.viewer)
    here = f"/t/acme/environments/{environment.pk}/rehearsals/"
    assert client.post(here, {"version": "2.0.3"}).status_code == 403
    client.force_login(live_cast.operator)
    assert "Rehearse upgrade…" in client.get(f"/t/acme/environments/{environment.pk}/").content.decode()
    assert client.post(here, {"version": "two"}).status_code == 422
    answer = client.post(here, {"version": "2.0.3"})
    assert answer.status_code == 302
    page = answer["Location"]
    assert "Now" in client.get(page).content.decode()
    run_operations(live_cast.tenant)
    shown = client.get(page).content.decode()
    assert ">Secrets<" in shown and "blocks unless told otherwise" in shown and ">Plain<" in shown
    assert ">Plain<" not in client.get(f"{page}?outcome=differs").content.decode()
    assert ">Secrets<" in client.get(f"{page}?rule=environment_blocked").content.decode()
    file = client.get(f"{page}csv/")
    assert file["Content-Type"].startswith("text/csv")
    assert b"environment_blocked" in b"".join(file.streaming_content)  # type: ignore[attr-defined]
    assert "1 differ" in client.get(here).content.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2.41.1", (2, 41, 1)), ("1.123.0", (1, 123, 0)), ("2.35 or later", (2, 35, 0)), ("unknown", None), ("", None)],
)
def test_versions_are_read(text: str, expected: Any) -> None:
    assert rules.version_of(text) == expected
