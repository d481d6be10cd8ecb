"""The same questions to two answerers: the sandbox, and a real n8n (`--n8n=live` or OPSCONSOLE_LIVE_N8N=1)."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sandbox.live import LiveN8n, install_folder, installed
from sandbox.testing import SandboxServer

JSON = dict[str, Any]


@dataclass
class Target:
    """Where the questions go."""

    kind: str
    base_url: str
    api: httpx.Client
    plain: httpx.Client

    def create(self, *nodes: JSON, **fields: Any) -> JSON:
        body = {"name": "Contract", "nodes": list(nodes), "connections": {}, "settings": {}, **fields}
        answer = self.api.post("/workflows", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, workflow_id: str, *nodes: JSON, **fields: Any) -> httpx.Response:
        body = {"name": "Contract", "nodes": list(nodes), "connections": {}, "settings": {}, **fields}
        return self.api.put(f"/workflows/{workflow_id}", json=body)

    def get(self, workflow_id: str) -> JSON:
        answer = self.api.get(f"/workflows/{workflow_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()


def unique(prefix: str = "hook") -> str:
    return f"{prefix}-{secrets.token_hex(5)}"


def webhook(path: str | None = None, **extra: Any) -> JSON:
    path = path or unique()
    return {
        "id": f"id-{path}",
        "name": "Webhook",
        "type": "n8n-nodes-base.webhook",
        "typeVersion": 2,
        "position": [0, 0],
        "parameters": {"path": path, "httpMethod": "POST"},
        "webhookId": path,
        **extra,
    }


def manual() -> JSON:
    return {
        "id": "manual",
        "name": "Manual",
        "type": "n8n-nodes-base.manualTrigger",
        "typeVersion": 1,
        "position": [0, 0],
        "parameters": {},
    }


def _wants_live(config: pytest.Config) -> bool:
    chosen = config.getoption("--n8n", default="")
    return chosen in ("live", "both") or os.environ.get("OPSCONSOLE_LIVE_N8N") == "1"


def _target(kind: str, base_url: str, key: str) -> Iterator[Target]:
    with (
        httpx.Client(base_url=f"{base_url}/api/v1", headers={"X-N8N-API-KEY": key}, timeout=30) as api,
        httpx.Client(base_url=base_url, timeout=30) as plain,
    ):
        yield Target(kind, base_url, api, plain)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask the sandbox always, and a real n8n when one is wanted."""
    if "n8n" in metafunc.fixturenames:
        answerers: list[Any] = ["sandbox"]
        if _wants_live(metafunc.config):
            answerers.append(pytest.param("live", marks=pytest.mark.live_n8n))
        metafunc.parametrize("n8n", answerers, indirect=True, scope="session")


@pytest.fixture(scope="session")
def n8n(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "sandbox":
        with SandboxServer() as server:
            instance = server.control.create("contract")
            yield from _target("sandbox", instance.base_url, instance.api_key)
        return
    if not installed(install_folder()):
        pytest.fail("a real n8n was asked for and none is installed: run script/n8n install")
    with LiveN8n(1) as (instance,):
        yield from _target("live", instance.base_url, instance.api_key)


def eventually(look: Callable[[], Any], enough: Callable[[Any], Any], *, seconds: float = 30.0) -> Any:
    """What ``look`` found once it is enough; what it found last when the time is up."""
    deadline = time.monotonic() + seconds
    while not enough(found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
