"""Two real n8n of one version, known to a tenant, judged by what they run: webhooks are called, nothing is believed."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx

from core import crypto
from promotions.tests.world import World
from sandbox.live import LiveInstance
from tenants.scope import tenant_scope
from workflows.gateway import client_for
from workflows.models import Environment

JSON = dict[str, Any]


def hook(path: str) -> JSON:
    return {
        "id": f"hook-{path}",
        "name": "Hook",
        "type": "n8n-nodes-base.webhook",
        "typeVersion": 2,
        "position": [0, 0],
        "parameters": {"path": path, "httpMethod": "POST", "responseMode": "lastNode"},
        "webhookId": str(uuid.uuid5(uuid.NAMESPACE_URL, path)),
    }


def called() -> JSON:
    return {
        "id": "in",
        "name": "In",
        "type": "n8n-nodes-base.executeWorkflowTrigger",
        "typeVersion": 1.1,
        "position": [0, 0],
        "parameters": {"inputSource": "passthrough"},
    }


def says(text: str, name: str = "Out") -> JSON:
    assignment = {"id": "a", "name": "from", "value": text, "type": "string"}
    return {
        "id": f"says-{name}",
        "name": name,
        "type": "n8n-nodes-base.set",
        "typeVersion": 3.4,
        "position": [200, 0],
        "parameters": {"assignments": {"assignments": [assignment]}, "options": {}},
    }


def calls(workflow_id: str, name: str = "Call") -> JSON:
    return {
        "id": f"calls-{name}",
        "name": name,
        "type": "n8n-nodes-base.executeWorkflow",
        "typeVersion": 1.2,
        "position": [400, 0],
        "parameters": {"workflowId": {"__rl": True, "mode": "id", "value": workflow_id}, "options": {}},
    }


def flow(name: str, *nodes: JSON, **settings: Any) -> JSON:
    links = pairwise(nodes)
    return {
        "name": name,
        "nodes": list(nodes),
        "connections": {a["name"]: {"main": [[{"node": b["name"], "type": "main", "index": 0}]]} for a, b in links},
        "settings": {"executionOrder": "v1", **settings},
    }


@dataclass
class Site:
    """One real n8n, spoken to behind the console's back."""

    instance: LiveInstance

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self.instance.client() as client:
            return client.request(method, path, **options)

    def clear(self) -> None:
        for raw in self.all().values():
            self.remove(raw["id"])

    def remove(self, workflow_id: str) -> None:
        for _ in range(200):
            if self.api("DELETE", f"/workflows/{workflow_id}").status_code != 409:
                return
            self.api("POST", f"/workflows/{workflow_id}/deactivate")
            pause(0.1)

    def all(self) -> dict[str, JSON]:
        return {raw["name"]: raw for raw in self.api("GET", "/workflows", params={"limit": 250}).json()["data"]}

    def make(self, workflow: JSON, *, published: bool = False) -> str:
        made = self.api("POST", "/workflows", json=workflow)
        assert made.status_code == 200, made.text
        if published:
            self.publish(made.json()["id"])
        return str(made.json()["id"])

    def publish(self, workflow_id: str) -> None:
        answer = self.api("POST", f"/workflows/{workflow_id}/activate")
        assert answer.status_code == 200, answer.text

    def put(self, workflow_id: str, workflow: JSON) -> None:
        answer = self.api("PUT", f"/workflows/{workflow_id}", json=workflow)
        assert answer.status_code == 200, answer.text

    def get(self, workflow_id: str) -> JSON:
        return self.api("GET", f"/workflows/{workflow_id}").json()  # type: ignore[no-any-return]

    def draft(self, workflow_id: str, text: str) -> None:
        """What the editor does by itself every few seconds: save, and publish nothing."""
        now = self.get(workflow_id)
        for node in now["nodes"]:
            if node["name"] == "Out":
                node["parameters"]["assignments"]["assignments"][0]["value"] = text
        body = {name: now[name] for name in ("name", "nodes", "connections", "settings", "versionId")}
        with self.instance.owner_login() as editor:
            answer = editor.patch(f"/workflows/{workflow_id}", json=body)
        assert answer.status_code == 200, answer.text

    def text(self, workflow_id: str) -> tuple[str, str | None]:
        """What the editor holds and what is published, by what the node Out says."""
        raw = self.get(workflow_id)
        live = raw.get("activeVersion")
        return _out(raw["nodes"]), _out(live["nodes"]) if live and raw["active"] else None

    def call(self, path: str, **body: Any) -> tuple[int, Any]:
        """A production call, as a customer's system makes it."""
        answer = httpx.post(f"{self.instance.base_url}/webhook/{path}", json=body, timeout=60)
        try:
            return answer.status_code, answer.json()
        except json.JSONDecodeError:
            return answer.status_code, answer.text

    def answers(self, path: str, wanted: Any, *, tries: int = 80) -> bool:
        """Whether a call comes to be answered so; n8n publishes in the background."""
        for number in range(tries):
            if self.call(path) == wanted:
                return True
            pause(0.05 if number < 20 else 0.25)
        return False


def _out(nodes: list[JSON]) -> str:
    out = next(node for node in nodes if node["name"] == "Out")
    return str(out["parameters"]["assignments"]["assignments"][0]["value"])


def pause(seconds: float) -> None:
    """Between two looks at a process that is not ours."""
    import threading

    threading.Event().wait(seconds)


@dataclass
class LiveWorld(World):
    """Staging and production on two real n8n."""

    here: Site = None  # type: ignore[assignment]
    there: Site = None  # type: ignore[assignment]

    def key(self, name: str) -> str:
        from workflows.models import CanonicalWorkflow

        with tenant_scope(self.tenant_id):
            return CanonicalWorkflow.objects.get(name=name).key


def make_world(cast: Any, here: Site, there: Site) -> LiveWorld:
    environments = []
    for position, (name, site) in enumerate((("Staging", here), ("Production", there)), start=1):
        site.clear()
        with tenant_scope(cast.tenant.pk):
            environments.append(
                Environment.objects.create(
                    tenant=cast.tenant,
                    name=name,
                    slug=name.lower(),
                    kind=name.lower(),
                    position=position,
                    base_url=site.instance.base_url,
                    api_key_encrypted=crypto.encrypt(site.instance.api_key),
                )
            )
    staging, production = environments
    return LiveWorld(
        cast=cast,
        staging=staging,
        production=production,
        source=here.instance,  # type: ignore[arg-type]
        target=there.instance,  # type: ignore[arg-type]
        here=here,
        there=there,
    )


def client_of(environment: Environment) -> Any:
    return client_for(environment)
