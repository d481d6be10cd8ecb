"""The history goes to a remote over SSH, to a real sshd: after each commit, by the tenant's key, to the known host."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from audit.models import LogEntry
from core import clock
from operations import engine
from operations.errors import Busy
from operations.models import Operation
from sandbox.testing import SandboxInstance
from snapshots.pushing import AGAIN_AFTER, KIND, keep_copied, start_push
from snapshots.repository import store_for
from snapshots.services import verify_snapshot
from snapshots.store import GitStore
from tenants.scope import tenant_scope
from tenants.services import update_settings
from tests.waiting import until

from .conftest import workflow
from .test_store import write

SEEN = "snapshots/production"
CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/tenant.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


@dataclass(frozen=True)
class Host:
    """A machine that takes pushes: where it is, and the keys of all concerned."""

    folder: Path
    port: int

    def key(self, name: str) -> str:
        return (self.folder / name).read_text()

    def known(self, name: str = "host") -> str:
        return f"[127.0.0.1]:{self.port} {self.key(f'{name}.pub')}"

    def url(self, path: Path | str, port: int = 0) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{port or self.port}{path}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """An sshd of our own. Without one the tests are skipped, unless OPSCONSOLE_REQUIRE_SSHD=1."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if program is None:
        if os.environ.get("OPSCONSOLE_REQUIRE_SSHD"):
            pytest.fail("sshd is missing (Debian: apt install openssh-server)")
        pytest.skip("sshd is not installed")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    found = Host(tmp_path_factory.mktemp("sshd"), free_port())
    for name in ("host", "tenant", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(found.folder / name)]
        subprocess.run(command, check=True)
    settings = found.folder / "sshd_config"
    settings.write_text(CONFIGURATION.format(port=found.port, folder=found.folder))
    with (found.folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(settings)], stdout=log, stderr=log)
    try:
        until("sshd answers", lambda: answers(found.port) or process.poll() is not None)
        assert process.poll() is None, (found.folder / "log").read_text()
        yield found
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def target(tmp_path: Path) -> GitStore:
    """The empty repository at the host."""
    return GitStore.open(tmp_path, "elsewhere").create()


@pytest.fixture
def remote(live_cast: Any, host: Host, target: GitStore) -> Callable[..., None]:
    """Give the tenant this remote, with what is right unless told otherwise."""

    def give(**wrong: str) -> None:
        right = {"git_remote_url": host.url(target.path), "secret": host.key("tenant"), "known_hosts": host.known()}
        update_settings(tenant=live_cast.tenant, name=live_cast.tenant.name, **(right | wrong))  # type: ignore[arg-type]

    return give


@pytest.fixture
def copy(live_cast: Any, run_operations: Any) -> Callable[[], int]:
    """A round of the beat, and the jobs that it starts; how many these were."""

    def go() -> int:
        started = keep_copied()
        run_operations(live_cast.tenant)
        return started

    return go


def pushes(tenant: Any) -> list[Operation]:
    """Newest first."""
    with tenant_scope(tenant.pk):
        return list(Operation.objects.filter(kind=KIND).order_by("-created_at"))


def test_each_commit_is_copied_and_the_key_is_safe_on_its_way(
    live_cast: Any,
    n8n: SandboxInstance,
    capture: Callable[..., Any],
    remote: Callable[..., None],
    copy: Callable[[], int],
    host: Host,
    target: GitStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Between Git and the real ssh stands one that writes down how it is called, and what the key's file is like.
    beside = tmp_path / "bin"
    beside.mkdir()
    seen, real = tmp_path / "seen", shutil.which("ssh")
    (beside / "ssh").write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {seen}\n"
        f'for word; do case $word in IdentityFile=*) stat -c %a "${{word#*=}}" >> {seen};; esac; done\n'
        f'exec {real} "$@"\n'
    )
    (beside / "ssh").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{beside}:{os.environ['PATH']}")

    # As a browser's form sends it: with its own ends of lines.
    remote(secret=host.key("tenant").replace("\n", "\r\n"))
    n8n.seed([workflow()])
    capture()
    assert copy() == 1
    store = store_for(live_cast.tenant.pk)
    assert target.branches() == store.branches() and len(store.branches()) == 2
    words = seen.read_text().splitlines()
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none"} <= set(words)
    assert words[-1] == "600"
    key = next(word.partition("=")[2] for word in words if word.startswith("IdentityFile="))
    assert not Path(key).exists()

    assert copy() == 0, "all is there"
    n8n.seed([workflow("Invoices")])
    capture()
    assert copy() == 1
    assert target.branches() == store.branches()
    assert [push.status for push in pushes(live_cast.tenant)] == ["COMPLETED"] * 2
    assert pushes(live_cast.tenant)[0].result["moved"] == [SEEN]
    assert target.verify().findings == []
    with tenant_scope(live_cast.tenant.pk):
        told = LogEntry.objects.filter(resource_type="tenants", action_name__startswith="EFFECT_").order_by("id")
        assert [entry.action_name for entry in told] == ["EFFECT_INTENDED", "EFFECT_DONE"] * 2


#: What is wrong: the settings that make it so, the code of the failure, a word of its way out.
WRONG = {
    "another host key": ("GIT_006", "somebody stands in between"),
    "no host key": ("GIT_006", "its key"),
    "another key": ("GIT_002", "Renew the token or key"),
    "no key": ("GIT_002", "Renew the token or key"),
    "a torn key": ("GIT_002", "Renew the token or key"),
    "nobody listens": ("GIT_003", "Check the address"),
    "no repository there": ("GIT_003", "Check the address"),
    "commits of somebody else": ("GIT_004", "use an empty repository"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_lost(
    live_cast: Any,
    n8n: SandboxInstance,
    capture: Callable[..., Any],
    remote: Callable[..., None],
    run_operations: Any,
    copy: Callable[[], int],
    host: Host,
    target: GitStore,
    what: str,
) -> None:
    theirs = None
    wrong: dict[str, str] = {}
    match what:
        case "another host key":
            wrong = {"known_hosts": host.known("stranger")}
        case "no host key":
            wrong = {"known_hosts": ""}
        case "another key":
            wrong = {"secret": host.key("stranger")}
        case "no key":
            wrong = {"secret": ""}
        case "a torn key":
            wrong = {"secret": host.key("tenant")[:200]}
        case "nobody listens":
            wrong = {"git_remote_url": host.url(target.path, port=(free := free_port()))}
            wrong["known_hosts"] = host.known().replace(str(host.port), str(free))
        case "no repository there":
            wrong = {"git_remote_url": host.url(f"{target.path}-not")}
        case "commits of somebody else":
            theirs = write(target, {"theirs.json": b"1"}, branch=SEEN)
    remote(**wrong)
    n8n.seed([workflow()])
    snapshot = capture()
    copy()
    assert snapshot.git_commit_sha, "the capture itself goes well"
    (failed,) = pushes(live_cast.tenant)
    code, way_out = WRONG[what]
    cause = failed.error_details["details"]["cause"]
    assert (failed.status, failed.error_code, cause) == ("FAILED", "SNAP_001", code), failed.error_details
    assert way_out in failed.error_details["recovery"]
    told = str(failed.error_details)
    assert "PRIVATE KEY" not in told and "opsconsole-ssh" not in told

    store = store_for(live_cast.tenant.pk)
    assert store.verify().findings == [] and store.tip(SEEN) == snapshot.git_commit_sha
    assert target.tip(SEEN) == theirs, "nobody's commits are overwritten"

    # It is not tried all the time, but again after a while.
    assert copy() == 0
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(pk=failed.pk).update(ended_at=clock.now() - AGAIN_AFTER - timedelta(seconds=1))
    assert keep_copied() == 1
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(kind=KIND, status="PENDING").delete()

    # The page says so; once it is put right, the same button brings everything.
    client = Client()
    client.force_login(live_cast.operator)
    page = client.get("/t/acme/snapshots/").content.decode()
    assert code in page and "The copy at the Git remote is behind" in page and "Not copied" in page
    if theirs:
        target.move_branch(SEEN, to=None, expected=theirs)
    remote()
    assert "/jobs/" in client.post("/t/acme/snapshots/push/").headers["location"]
    run_operations(live_cast.tenant)
    assert target.branches() == store.branches() and copy() == 0
    page = client.get("/t/acme/snapshots/").content.decode()
    assert "is behind" not in page and "Copied to the Git remote" in page


def test_there_is_one_push_at_a_time(
    live_cast: Any,
    n8n: SandboxInstance,
    capture: Callable[..., Any],
    remote: Callable[..., None],
    copy: Callable[[], int],
    host: Host,
    target: GitStore,
) -> None:
    remote()
    n8n.seed([workflow()])
    capture()
    assert keep_copied() == 1
    remote(git_remote_url=host.url(f"{target.path}/"))
    assert keep_copied() == 0, "another address is due, once the one that waits has ended"
    with pytest.raises(Busy):
        start_push(tenant_id=live_cast.tenant.pk, requested_by=None)
    assert copy() == 0 and copy() == 1 and copy() == 0
    assert [push.status for push in pushes(live_cast.tenant)] == ["COMPLETED"] * 2
    assert target.branches() == store_for(live_cast.tenant.pk).branches()


def test_without_a_remote_nothing_is_pushed(live_cast: Any, n8n: SandboxInstance, capture: Callable[..., Any]) -> None:
    n8n.seed([workflow()])
    capture()
    assert keep_copied() == 0 and pushes(live_cast.tenant) == []
    client = Client()
    client.force_login(live_cast.operator)
    assert b"Git remote" not in client.get("/t/acme/snapshots/").content
    client.post("/t/acme/snapshots/push/")
    assert pushes(live_cast.tenant) == []


def test_a_remote_inside_the_operators_network_is_refused(
    live_cast: Any,
    n8n: SandboxInstance,
    capture: Callable[..., Any],
    remote: Callable[..., None],
    target: GitStore,
    settings: Any,
) -> None:
    n8n.seed([workflow()])
    capture()
    remote()
    settings.N8N_ALLOWED_NETWORKS = []
    operation = start_push(tenant_id=live_cast.tenant.pk, requested_by=None)
    engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk)
    (refused,) = pushes(live_cast.tenant)
    assert (refused.error_code, target.branches()) == ("SNAP_001", {})
    assert refused.error_details["details"]["cause"] == "GIT_005"
    assert "127.0.0.1" in refused.error_message


def test_the_settings_ask_for_what_the_address_needs(live_cast: Any, host: Host) -> None:
    client = Client()
    client.force_login(live_cast.owner)
    given = {"name": "Acme", "git_remote_url": host.url("/x.git"), "git_remote_secret": host.key("tenant")}
    refused = client.post("/t/acme/settings/", given)
    assert refused.status_code == 422 and b"Without its host key" in refused.content
    assert b"PRIVATE KEY-----" not in refused.content.replace(b"-----BEGIN to", b"")
    token = given | {"git_remote_secret": "token", "git_remote_known_hosts": host.known()}
    assert b"This address takes a private key" in client.post("/t/acme/settings/", token).content
    key = given | {"git_remote_url": "https://git.example.org/x.git"}
    assert b"This address takes a token" in client.post("/t/acme/settings/", key).content
    assert client.post("/t/acme/settings/", given | {"git_remote_known_hosts": host.known()}).status_code == 302
    assert host.known().strip() in client.get("/t/acme/settings/").content.decode()


def test_a_store_that_is_damaged_is_named_and_comes_back_from_its_remote(
    live_cast: Any,
    n8n: SandboxInstance,
    capture: Callable[..., Any],
    remote: Callable[..., None],
    copy: Callable[[], int],
    target: GitStore,
) -> None:
    """As the production guide says it."""
    remote()
    (made,) = n8n.seed([workflow()])
    first = capture()
    copy()
    n8n.edit(made["id"], nodes=workflow(url="https://example.org/b")["nodes"])
    store = store_for(live_cast.tenant.pk)
    (store.path / f"refs/heads/{SEEN}").write_text("not a commit\n")
    said = StringIO()
    with pytest.raises(CommandError, match="Damaged: acme"):
        call_command("snapshots_check", "--quick", stdout=said)
    assert "acme: DAMAGED" in said.getvalue() and f"branch: {SEEN}" in said.getvalue()
    assert "umbrella: nothing captured yet" in said.getvalue()

    store.path.rename(store.path.with_suffix(".damaged"))
    subprocess.run(["git", "clone", "-q", "--bare", str(target.path), str(store.path)], check=True)
    call_command("snapshots_check", "--tenant", "acme", stdout=said)
    assert "acme: whole" in said.getvalue()
    assert verify_snapshot(first).status == "verified"
    second = capture()
    copy()
    assert target.tip(SEEN) == second.git_commit_sha and len(store.log(SEEN).commits) == 2
