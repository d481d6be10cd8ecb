"""For tests: the real sandbox program on a free port, and a small client of its control API.

with SandboxServer() as server:
    dev = server.control.create("dev")
    dev.seed([{...}]); dev.fault(kind="drop_after", method="PUT", times=1)
    httpx.get(f"{dev.api_url}/workflows", headers=dev.headers)
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parent.parent
JSON = dict[str, Any]


class SandboxInstance:
    """One instance of a running sandbox: where it is, its key, and what can be done to it behind its back."""

    def __init__(self, control: SandboxControl, described: Mapping[str, Any]) -> None:
        self.control = control
        self.name: str = described["name"]
        self.api_key: str = described["api_key"]
        self.base_url = f"{control.url}/{self.name}"
        self.api_url = f"{self.base_url}/api/v1"
        self.headers = {"X-N8N-API-KEY": self.api_key}

    def _call(self, method: str, path: str = "", body: Any = None) -> Any:
        return self.control.call(method, f"/instances/{self.name}{path}", body)

    def seed(
        self, workflows: Sequence[Mapping[str, Any]], *, keep_ids: bool = False, activate: bool | str = "as_given"
    ) -> list[JSON]:
        """Add workflows; returns `[{id, name, active, version_id, active_version_id}]` in the same order."""
        found: list[dict[str, Any]] = self._call(
            "POST", "/seed", {"workflows": list(workflows), "keep_ids": keep_ids, "activate": activate}
        )
        return found

    def generate(self, count: int, **options: Any) -> list[str]:
        """Make `count` workflows (size=12000 bytes, seed=0, active_ratio=0, pinned_ratio=0.1); returns their ids."""
        found: list[str] = self._call("POST", "/generate", {"count": count, **options})["ids"]
        return found

    def state(self) -> JSON:
        found: dict[str, Any] = self._call("GET", "/state")
        return found

    def workflow(self, workflow_id: str) -> JSON | None:
        """One workflow as it is stored now; None if it is not there."""
        return next((item for item in self.state()["workflows"] if item["id"] == workflow_id), None)

    def edit(self, workflow_id: str, *, draft: bool = False, author: str = "", **changes: Any) -> JSON:
        """Somebody else edits a workflow (name=, nodes=, settings=, active=, archived=, tags=, ...).

        No changes: some edit. ``draft``: saved as the editor saves, not published.
        """
        body = {"changes": changes, "draft": draft, "author": author}
        found: dict[str, Any] = self._call("POST", f"/workflows/{workflow_id}/edit", body)
        return found

    def archive(self, workflow_id: str, archived: bool = True) -> JSON:
        return self.edit(workflow_id, archived=archived)

    def make_deaf(self, workflow_id: str, deaf: bool = True) -> JSON:
        """From now on its triggers fail to register, while n8n says that it is active."""
        found: dict[str, Any] = self._call("POST", f"/workflows/{workflow_id}/edit", {"deaf": deaf})
        return found

    def set_version(self, workflow_id: str, version_id: str | None = None, **facts: Any) -> JSON:
        """author=, name=, description=, autosaved= of a version, by default of what is published."""
        found: dict[str, Any] = self._call(
            "POST", f"/workflows/{workflow_id}/version", {"version_id": version_id, **facts}
        )
        return found

    def publish_after(self, calls: int | None) -> None:
        """How many calls still see the former state after a publication (2.40 and newer); None: until `settle`."""
        self.change(publication_calls=calls)

    def settle(self) -> None:
        """Let what is published take effect now."""
        self._call("POST", "/settle")

    def limit_key(self, scopes: Sequence[str] | None) -> None:
        """What the key may do; None: everything."""
        self.change(scopes={} if scopes is None else {self.api_key: list(scopes)})

    def delete_workflow(self, workflow_id: str) -> JSON:
        found: dict[str, Any] = self._call("DELETE", f"/workflows/{workflow_id}")
        return found

    def add_credentials(self, *credentials: Mapping[str, str]) -> list[JSON]:
        """Each `{id?, name, type}`."""
        found: list[dict[str, Any]] = self._call("POST", "/credentials", list(credentials))
        return found

    def add_executions(self, *runs: Mapping[str, Any]) -> JSON:
        """Each `{workflow_id, status?, mode?, started?, stopped?, node?, count?}`."""
        found: dict[str, Any] = self._call("POST", "/executions", list(runs))
        return found

    def fault(self, **spec: Any) -> JSON:
        """Add one fault, e.g. `kind="status", status=429, retry_after=2, method="PUT", path="/workflows/", nth=2`."""
        found: dict[str, Any] = self._call("POST", "/faults", spec)[0]
        return found

    def faults(self) -> list[JSON]:
        found: list[dict[str, Any]] = self._call("GET", "/faults")
        return found

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    def calls(self, *, method: str | None = None) -> list[JSON]:
        """What was asked since the start or the last `clear_calls`: `{method, path, status, fault}`; 0 is 'hung up'."""
        return [call for call in self._call("GET", "/calls") if method in (None, call["method"])]

    def clear_calls(self) -> None:
        self._call("DELETE", "/calls")

    def change(self, **options: Any) -> JSON:
        """api_keys=[...], profile="2.0", packages=[...], scopes={key: [...]}, publication_calls=3"""
        found: dict[str, Any] = self._call("PATCH", "", options)
        return found

    def delete(self) -> None:
        self._call("DELETE")

    def client(self, **options: Any) -> httpx.Client:
        """A plain HTTP client of this instance's public API."""
        return httpx.Client(base_url=self.api_url, headers=self.headers, timeout=30, **options)


class SandboxControl:
    """Client of `/_control`."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.http = httpx.Client(
            base_url=f"{self.url}/_control", headers={"Authorization": f"Bearer {token}"}, timeout=120
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Raises RuntimeError with the sandbox's message for anything but success."""
        response = self.http.request(method, path, json=body) if body is not None else self.http.request(method, path)
        if response.is_error:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def create(self, name: str | None = None, **options: Any) -> SandboxInstance:
        """A new instance, by default under a fresh name. Options: api_key, profile, owner, packages, replace."""
        name = name or f"n8n-{secrets.token_hex(4)}"
        return SandboxInstance(self, self.call("POST", "/instances", {"name": name, **options}))

    def instance(self, name: str) -> SandboxInstance:
        return SandboxInstance(self, self.call("GET", f"/instances/{name}"))

    def instances(self) -> list[JSON]:
        found: list[dict[str, Any]] = self.call("GET", "/instances")
        return found

    def reset(self) -> None:
        self.call("POST", "/reset")

    def save(self) -> bool:
        return bool(self.call("POST", "/save")["saved"])

    def close(self) -> None:
        self.http.close()


class SandboxServer:
    """The sandbox as a process of its own, for as long as the block lasts."""

    def __init__(self, *, data: Path | None = None, seed_file: Path | None = None, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(16)
        self.arguments: list[str] = ["--port", str(port)]
        if data:
            self.arguments += ["--data", str(data)]
        if seed_file:
            self.arguments += ["--seed-file", str(seed_file)]
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.control: SandboxControl

    def start(self) -> Self:
        command: Iterable[str] = [sys.executable, "-m", "sandbox", *self.arguments]
        environment = {**os.environ, "SANDBOX_CONTROL_TOKEN": self.token}
        self.process = subprocess.Popen(
            list(command), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"The sandbox did not start (exit code {self.process.wait()}).")
        self.url = json.loads(line)["url"]
        self.control = SandboxControl(self.url, self.token)
        return self

    def stop(self) -> None:
        """Ask it to end (it saves its state), and make sure that it did."""
        if self.process is None:
            return
        self.control.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
