"""The same questions to two answerers: a profile of the sandbox, and the real n8n that it resembles.

Real ones are asked with `--n8n=live` or OPSCONSOLE_LIVE_N8N=1 (1.123.0 and 2.41.1), =all (2.0.3 as well) or =<version>.
Where an answer differs by version, `expected.py` says how.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx
import pytest

from sandbox.live import LiveInstance, LiveN8n, make_api_key, missing, wanted_versions
from sandbox.testing import SandboxInstance, SandboxServer

from .expected import RULES, VERSIONS, Rules

JSON = dict[str, Any]
#: What a real n8n is given to do what it does later.
PATIENCE = 30.0


@dataclass
class Target:
    """Where the questions go, and what is expected of the answers."""

    instance: LiveInstance | SandboxInstance
    rules: Rules
    api: httpx.Client
    plain: httpx.Client

    def create(self, *nodes: JSON, **fields: Any) -> JSON:
        body = {"name": "Contract", "nodes": list(nodes), "connections": {}, "settings": {}, **fields}
        answer = self.api.post("/workflows", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, workflow_id: str, *nodes: JSON, query: str = "", **fields: Any) -> httpx.Response:
        body = {"name": "Contract", "nodes": list(nodes), "connections": {}, "settings": {}, **fields}
        return self.api.put(f"/workflows/{workflow_id}{query}", json=body)

    def get(self, workflow_id: str) -> JSON:
        answer = self.api.get(f"/workflows/{workflow_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def activate(self, workflow_id: str, **body: Any) -> JSON:
        answer = self.api.post(f"/workflows/{workflow_id}/activate", **({"json": body} if body else {}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, workflow_id: str, verb: str, **body: Any) -> httpx.Response:
        return self.api.post(f"/workflows/{workflow_id}/{verb}", **({"json": body} if body else {}))

    def answers(self, path: str, status: int = 200) -> bool:
        """Whether the production webhook comes to answer with this status. A run may be its effect."""
        return bool(eventually(lambda: self.plain.post(f"/webhook/{path}").status_code == status, bool))

    def live(self, path: str, **fields: Any) -> JSON:
        """A workflow whose webhook answers at this path."""
        made = self.create(webhook(path), **fields)
        self.activate(made["id"])
        assert self.answers(path)
        return made

    def save_draft(self, workflow: JSON, *nodes: JSON) -> None:
        """As the editor does it, by itself and without publishing."""
        if isinstance(self.instance, SandboxInstance):
            self.instance.edit(workflow["id"], draft=True, nodes=list(nodes))
            return
        content = {"name": workflow["name"], "nodes": list(nodes), "connections": {}, "settings": {}}
        with self.instance.owner_login() as editor:
            body = {**content, "versionId": workflow["versionId"], "autosaved": True}
            answer = editor.patch(f"/workflows/{workflow['id']}", json=body)
            assert answer.status_code == 200, answer.text

    @contextmanager
    def limited_to(self, *scopes: str) -> Iterator[httpx.Client]:
        """A client of a key that may do this and nothing else."""
        if isinstance(self.instance, SandboxInstance):
            key = unique("key")
            self.instance.change(api_keys=[self.instance.api_key, key], scopes={key: list(scopes)})
        else:
            with self.instance.owner_login() as editor:
                key = make_api_key(editor, scopes)
        with httpx.Client(base_url=self.api.base_url, headers={"X-N8N-API-KEY": key}, timeout=30) as client:
            yield client


def unique(prefix: str = "hook") -> str:
    return f"{prefix}-{secrets.token_hex(5)}"


def node(name: str, kind: str, version: float = 1, **parameters: Any) -> JSON:
    kind = kind if "." in kind else f"n8n-nodes-base.{kind}"
    shape = {"id": f"id-{name}", "name": name, "type": kind, "typeVersion": version, "position": [0, 0]}
    return {**shape, "parameters": parameters}


def webhook(path: str | None = None, **extra: Any) -> JSON:
    path = path or unique()
    made = node("Webhook", "webhook", 2, path=path, httpMethod="POST")
    return {**made, "id": f"id-{path}", "webhookId": path, **extra}


def manual() -> JSON:
    return {**node("Manual", "manualTrigger"), "id": "manual"}


def called() -> JSON:
    """What starts a sub-workflow."""
    return node("Called", "executeWorkflowTrigger", 1.1, inputSource="passthrough")


def caller_of(workflow_id: str, **extra: Any) -> JSON:
    target = {"__rl": True, "value": workflow_id, "mode": "id"}
    return {**node("Calls", "executeWorkflow", 1.2, workflowId=target, options={}), **extra}


def chain(*nodes: JSON) -> JSON:
    """Connections from each node to the next."""
    pairs = pairwise(nodes)
    return {a["name"]: {"main": [[{"node": b["name"], "type": "main", "index": 0}]]} for a, b in pairs}


#: A test that takes one of these instead of ``n8n`` is asked of those versions alone that have what it is about.
ONLY: dict[str, Callable[[Rules], bool]] = {
    "drafting": lambda rules: rules.has_drafts,
    "newest": lambda rules: rules.stages,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask the sandbox always, and a real n8n when one is wanted."""
    if "n8n" not in metafunc.fixturenames:
        return
    asked = [ONLY[name] for name in ONLY if name in metafunc.fixturenames]
    profiles = {profile for profile, rules in RULES.items() if all(has(rules) for has in asked)}
    answerers: list[Any] = [f"sandbox-{profile}" for profile in RULES if profile in profiles]
    for version in wanted_versions(metafunc.config.getoption("--n8n")):
        # One that nobody has said anything about is asked everything, and says so.
        if profile_of(version) in {*profiles, ""}:
            # One worker asks a real one everything, so that it is started once.
            group = pytest.mark.xdist_group(f"contract-{version}")
            answerers.append(pytest.param(f"live-{version}", marks=[pytest.mark.live_n8n, group]))
    metafunc.parametrize("n8n", answerers, indirect=True, scope="session")


def profile_of(version: str) -> str:
    """The sandbox's profile of a real version; '' where there is none."""
    return next((profile for profile, real in VERSIONS.items() if real == version), "")


@pytest.fixture(scope="session")
def n8n(request: pytest.FixtureRequest) -> Iterator[Target]:
    kind, _, version = request.param.partition("-")
    if kind == "sandbox":
        with SandboxServer() as server:
            yield from _target(server.control.create("contract", profile=version), RULES[version])
        return
    if why := missing(version):
        pytest.fail(why)
    profile = profile_of(version)
    if not profile:
        pytest.fail(f"nobody has said what n8n {version} should answer: {', '.join(VERSIONS.values())} are known")
    with LiveN8n(1, version=version) as (instance,):
        yield from _target(instance, RULES[profile])


@pytest.fixture
def drafting(n8n: Target) -> Target:
    """Those that keep a draft beside what runs."""
    return n8n


@pytest.fixture
def newest(n8n: Target) -> Target:
    """Those that stage and publish versions."""
    return n8n


def _target(instance: LiveInstance | SandboxInstance, rules: Rules) -> Iterator[Target]:
    with instance.client() as api, httpx.Client(base_url=instance.base_url, timeout=30) as plain:
        yield Target(instance, rules, api, plain)


def eventually(look: Callable[[], Any], enough: Callable[[Any], Any], *, seconds: float = PATIENCE) -> Any:
    """What ``look`` found once it is enough; what it found last when the time is up."""
    deadline = time.monotonic() + seconds
    while not enough(found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
