"""Executions on a real n8n: a webhook runs, fails, is mended, is retried, and the console shows each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import reverse

from core import crypto
from operations import engine
from operations.models import Operation
from sandbox.live import LiveN8n, install_folder, installed
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from tests.reading import flat
from workflows.executions import collecting, counting, services
from workflows.models import Environment, Execution, WorkflowEnvMap

#: The newest, and the oldest, which has no drafts.
VERSIONS = ("2.41.1", "1.123.0")
GOOD, BROKEN = "return [{json: {ok: true}}];", "throw new Error('broken');"
SLOW = "await new Promise((done) => setTimeout(done, 4000)); return [];"

pytestmark = pytest.mark.live_n8n


class Hook:
    """A published workflow behind a webhook, and what its owner does to it in n8n."""

    def __init__(self, api: httpx.Client, web: httpx.Client, path: str, code: str) -> None:
        self.api, self.web, self.path = api, web, path
        made = api.post("/workflows", json=self._body(code)).raise_for_status().json()
        self.id: str = made["id"]
        self.publish(made["versionId"])

    def _body(self, code: str) -> dict[str, Any]:
        hook = {"path": self.path, "httpMethod": "POST"}
        nodes = [
            {"id": "h", "name": "Webhook", "type": "n8n-nodes-base.webhook", "typeVersion": 2, "parameters": hook},
            {
                "id": "c",
                "name": "Code",
                "type": "n8n-nodes-base.code",
                "typeVersion": 2,
                "parameters": {"jsCode": code},
            },
        ]
        return {
            "name": f"Hook {self.path}",
            "nodes": [{**node, "position": [200 * n, 0], "webhookId": self.path} for n, node in enumerate(nodes)],
            "connections": {"Webhook": {"main": [[{"node": "Code", "type": "main", "index": 0}]]}},
            "settings": {},
        }

    def publish(self, version_id: str) -> None:
        answer = self.api.post(f"/workflows/{self.id}/publish", json={"versionId": version_id})
        self.has_drafts = answer.status_code not in (404, 405)
        if not self.has_drafts:
            answer = self.api.post(f"/workflows/{self.id}/activate")
        answer.raise_for_status()

    def save(self, code: str) -> str:
        """A draft beside what runs, or what runs where there are none; its version."""
        query = {"publishIfActive": "false"} if self.has_drafts else {}
        saved = self.api.put(f"/workflows/{self.id}", params=query, json=self._body(code))
        return str(saved.raise_for_status().json()["versionId"])

    def call(self) -> None:
        """Publishing is asynchronous: the address answers a moment later."""
        _eventually(lambda: self.web.post(f"/webhook/{self.path}").is_success)


def _eventually(look: Any, *, seconds: float = 40.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module", params=VERSIONS)
def real_n8n(request: pytest.FixtureRequest) -> Iterator[Any]:
    version = request.param
    if not installed(install_folder(version)):
        pytest.skip(f"needs script/n8n install --version {version}")
    with LiveN8n(1, version=version) as (instance,):
        yield instance


def test_a_webhook_runs_fails_is_mended_and_retried(live_cast: Any, client: Client, real_n8n: Any) -> None:
    tenant = live_cast.tenant
    with tenant_scope(tenant.pk):
        environment = Environment.objects.create(
            tenant=tenant,
            name="Staging",
            slug="staging",
            kind="staging",
            base_url=real_n8n.base_url,
            api_key_encrypted=crypto.encrypt(real_n8n.api_key),
        )
    client.force_login(live_cast.operator, backend="allauth.account.auth_backends.AuthenticationBackend")

    def page(name: str, **kwargs: Any) -> str:
        return flat(client.get(reverse(name, kwargs={"tenant_slug": tenant.slug, **kwargs})).content)

    def drive(operation: Operation) -> Operation:
        engine.drive(operation_id=operation.pk, tenant_id=tenant.pk)
        with tenant_scope(tenant.pk):
            return Operation.objects.get(pk=operation.pk)

    def capture() -> None:
        done = drive(start_capture(tenant_id=tenant.pk, environment_id=environment.pk, requested_by=None))
        assert done.status == "COMPLETED", done.error_message

    def ended(status: str) -> list[Execution]:
        collecting.collect(environment)
        with tenant_scope(tenant.pk):
            rows = Execution.objects.filter(environment=environment, env_workflow_id=hook.id, status=status)
            return list(rows.order_by("number"))

    def state() -> counting.State | None:
        with tenant_scope(tenant.pk):
            return counting.states_of([(environment.pk, hook.id)]).get((environment.pk, hook.id))

    with real_n8n.client() as api, httpx.Client(base_url=real_n8n.base_url, timeout=60) as web:
        hook = Hook(api, web, "orders", GOOD)
        capture()
        hook.call()
        assert _eventually(lambda: ended("success"))
        found = state()
        assert found is not None and not found.failing
        assert ">last run" in page("tenant-home")

        hook.publish(hook.save(BROKEN))
        capture()
        broken = _eventually(lambda: hook.call() or ended("error"))[-1]
        assert bool(broken.version_id) == hook.has_drafts, "2.41 names the version of a single execution"
        found = state()
        assert found is not None and found.failing
        assert ">failing<" in page("tenant-home")
        with tenant_scope(tenant.pk):
            place = WorkflowEnvMap.objects.select_related("canonical_workflow").get(env_workflow_id=hook.id)
            fresh = Environment.objects.get(pk=environment.pk)
            total = counting.stats_of([(environment.pk, hook.id)])[environment.pk, hook.id].week
            versions = counting.versions_of(fresh, hook.id, total=total)
        if hook.has_drafts:
            failing = next(one for one in versions if one.count.failed)
            assert failing.content_hash == place.env_content_hash, "what failed is what runs now"
        shown = page("workflow", key=place.canonical_workflow.key)
        assert "Failing" in shown and f"/workflow/{hook.id}/executions/{broken.number}" in shown

        def retry() -> Operation:
            with tenant_scope(tenant.pk):
                wanted = [str(broken.pk)]
            return drive(
                services.start_retry(
                    tenant_id=tenant.pk,
                    environment_id=environment.pk,
                    requested_by=live_cast.operator,
                    executions=wanted,
                )
            )

        mended = hook.save(GOOD)
        if hook.has_drafts:
            refused = retry()
            assert refused.status == "FAILED" and "draft" in refused.error_message, "n8n would have run the draft"
            hook.publish(mended)
        done = retry()
        assert done.status == "COMPLETED", done.error_message
        outcome = done.result["executions"][0]
        assert (outcome["outcome"], outcome["status"]) == ("retried", "success")
        assert f"retried as {outcome['retry']}" in page("executions", pk=environment.pk)
        found = state()
        assert found is not None and not found.failing

        slow = Hook(api, web, "slow", SLOW)
        slow.call()
        collecting.collect(environment)
        with tenant_scope(tenant.pk):
            running = Execution.objects.filter(env_workflow_id=slow.id, status="running")
            assert running.exists(), "n8n's list leaves out what runs; the console asks for it"

        def over() -> bool:
            collecting.collect(environment)
            with tenant_scope(tenant.pk):
                return Execution.objects.filter(env_workflow_id=slow.id, status="success").exists()

        assert _eventually(over)
