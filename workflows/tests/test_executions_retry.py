"""A failed execution is retried once, whatever happens to the answer; and by whom it may be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import AuditLog
from core import clock, crypto
from core.errors import Invalid, NotFound, OpsError
from operations import engine
from operations.models import Operation
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from tests.reading import flat
from workflows.executions import handlers, retrying, services, storing
from workflows.executions.reading import rows_of
from workflows.models import Environment, Execution, ExecutionFeed
from workflows.n8n import N8nClient

JSON = dict[str, Any]
SPEC = "openapi: 3.0.0\npaths: {/executions: {get: {}}, '/executions/{executionId}/retry': {post: {}}}\n"


class FakeN8n:
    """Executions of one n8n; ``answer`` decides what becomes of a retry's answer."""

    def __init__(self) -> None:
        self.rows: list[JSON] = []
        self.retried: list[int] = []
        self.numbers = itertools.count(1)
        self.ending = "success"
        self.draft = False
        self.spec = SPEC
        self.answer: Callable[[httpx.Request, Callable[[], JSON]], httpx.Response] = lambda _request, run: (
            httpx.Response(200, json=run())
        )

    def ran(self, status: str = "error", *, retry_of: int | None = None, minutes: float = 30) -> int:
        number = next(self.numbers)
        at = (clock.now() - timedelta(minutes=minutes)).isoformat()
        self.rows.append(
            {
                "id": str(number),
                "status": status,
                "mode": "retry" if retry_of else "webhook",
                "retryOf": str(retry_of) if retry_of else None,
                "startedAt": at,
                "stoppedAt": None if status == "running" else at,
                "workflowId": "w1",
            }
        )
        return number

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        if path == "/openapi.yml":
            return httpx.Response(200, text=self.spec)
        if path == "/workflows/w1":
            return httpx.Response(
                200, json={"id": "w1", "versionId": "b", "activeVersionId": "a" if self.draft else "b"}
            )
        if path == "/executions":
            status = request.url.params.get("status")
            # n8n lists running ones only where it is asked for them.
            found = [row for row in reversed(self.rows) if (row["status"] == "running") == (status == "running")]
            return httpx.Response(200, json={"data": found, "nextCursor": None})
        number = int(path.split("/")[2])
        if request.method == "GET":
            return httpx.Response(200, json=next(row for row in self.rows if row["id"] == str(number)))
        return self.answer(request, lambda: self._retry(number))

    def _retry(self, number: int) -> JSON:
        self.retried.append(number)
        made = self.ran(self.ending, retry_of=number, minutes=0)
        return self.rows[made - 1]


@pytest.fixture
def n8n(monkeypatch: pytest.MonkeyPatch) -> FakeN8n:
    fake = FakeN8n()

    def client(_environment: Environment, **_limits: Any) -> N8nClient:
        return N8nClient(
            base_url="https://n8n.example.org",
            api_key="k",
            transport=httpx.MockTransport(fake.handle),
            sleep=lambda _s: None,
        )

    monkeypatch.setattr(handlers, "client_for", client)
    return fake


@pytest.fixture
def production(live_cast: Any) -> Environment:
    with tenant_scope(live_cast.tenant.pk):
        made = Environment.objects.create(
            tenant=live_cast.tenant,
            name="Production",
            slug="production",
            kind="production",
            base_url="https://n8n.example.org",
            api_key_encrypted=crypto.encrypt("k"),
        )
        ExecutionFeed.objects.create(tenant=live_cast.tenant, environment=made, next_at=clock.now(), can_retry=True)
        return made


def known(environment: Environment, n8n: FakeN8n) -> None:
    """What a reading would take down."""
    with tenant_scope(environment.tenant_id):
        found = rows_of(n8n.rows, at_most=250, now=clock.now())
        storing.store(environment=environment, runs=found.runs, now=clock.now())
        ExecutionFeed.objects.filter(environment=environment).update(newest=len(n8n.rows))


def begin(cast: Any, environment: Environment, **wanted: Any) -> Operation:
    return services.start_retry(
        tenant_id=environment.tenant_id, environment_id=environment.pk, requested_by=cast.operator, **wanted
    )


def drive(operation: Operation) -> Operation:
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(run_after=None)
    engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    with tenant_scope(operation.tenant_id):
        return Operation.objects.get(pk=operation.pk)


def statuses(environment: Environment) -> dict[int, str]:
    with tenant_scope(environment.tenant_id):
        return dict(Execution.objects.filter(environment=environment).values_list("number", "status"))


def test_a_failed_execution_is_retried_and_shown_at_once(live_cast: Any, production: Environment, n8n: FakeN8n) -> None:
    number = n8n.ran()
    known(production, n8n)
    done = drive(begin(live_cast, production, executions=[str(number)]))
    assert done.status == "COMPLETED", done.error_message
    assert (done.result["retried"], done.result["succeeded"], done.result["refused"]) == (1, 1, 0)
    assert n8n.retried == [number] and statuses(production) == {1: "error", 2: "success"}
    with tenant_scope(production.tenant_id):
        told = AuditLog.objects.filter(action__startswith="EFFECT_").order_by("pk").values_list("action", "details")
        assert [action for action, _ in told] == ["EFFECT_INTENDED", "EFFECT_DONE"]
        assert told[0][1]["path"] == f"/executions/{number}/retry"


def test_all_since_leaves_out_what_was_retried_or_is_a_retry(
    live_cast: Any, production: Environment, n8n: FakeN8n
) -> None:
    old = n8n.ran(minutes=600)
    mended, failing, running, fresh = (n8n.ran() for _ in range(4))
    n8n.ran("success", retry_of=mended)
    n8n.ran("error", retry_of=failing)
    n8n.ran("running", retry_of=running)
    n8n.ran("success")
    known(production, n8n)
    since = clock.now() - timedelta(hours=1)
    drive(begin(live_cast, production, since=since))
    assert n8n.retried == [failing, fresh] and old not in n8n.retried
    with pytest.raises(Invalid) as caught:
        begin(live_cast, production, since=since)
    assert caught.value.code == "EXEC_002"


def test_an_answer_that_never_came_is_looked_for_and_not_repeated(
    live_cast: Any, production: Environment, n8n: FakeN8n
) -> None:
    def drop_after(request: httpx.Request, run: Callable[[], JSON]) -> httpx.Response:
        run()
        raise httpx.ReadTimeout("gone", request=request)

    number, n8n.answer, n8n.ending = n8n.ran(), drop_after, "running"
    known(production, n8n)
    done = drive(begin(live_cast, production, executions=[str(number)]))
    assert done.status == "COMPLETED" and n8n.retried == [number]
    assert done.result["executions"][0] | {"error": None} == {
        "outcome": "retried",
        "number": 1,
        "workflow_id": "w1",
        "retry": 2,
        "status": "running",
        "error": None,
    }


def test_a_request_that_never_arrived_is_sent_again_once_that_is_certain(
    live_cast: Any, production: Environment, n8n: FakeN8n, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop_before(request: httpx.Request, _run: Callable[[], JSON]) -> httpx.Response:
        raise httpx.ReadError("gone", request=request)

    number, answer = n8n.ran(), n8n.answer
    known(production, n8n)
    n8n.answer = drop_before
    operation = begin(live_cast, production, executions=[str(number)])
    waiting = drive(operation)
    assert (waiting.status, n8n.retried) == ("RETRY_PENDING", []), "not certain yet: nothing is sent again"
    n8n.answer = answer
    assert drive(operation).status == "RETRY_PENDING" and n8n.retried == []
    monkeypatch.setattr(retrying, "CERTAIN_AFTER", timedelta(0))
    assert drive(operation).status == "COMPLETED" and n8n.retried == [number]


def test_a_worker_killed_after_the_write_repeats_nothing(live_cast: Any, production: Environment, n8n: FakeN8n) -> None:
    class Killed(BaseException):
        pass

    def die(_request: httpx.Request, run: Callable[[], JSON]) -> httpx.Response:
        run()
        raise Killed

    first, second = n8n.ran(), n8n.ran()
    known(production, n8n)
    answer, n8n.answer = n8n.answer, die
    operation = begin(live_cast, production, executions=[str(first), str(second)])
    with pytest.raises(Killed):
        drive(operation)
    n8n.answer = answer
    with tenant_scope(production.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    assert drive(operation).status == "COMPLETED"
    assert n8n.retried == [first, second]


@pytest.mark.parametrize(
    ("status", "words"), [(409, "The execution succeeded, so it cannot be retried."), (404, "It does not exist.")]
)
def test_a_refusal_of_one_is_told_and_the_next_is_done(
    live_cast: Any, production: Environment, n8n: FakeN8n, status: int, words: str
) -> None:
    first, second = n8n.ran(), n8n.ran()
    known(production, n8n)

    def refuse_first(request: httpx.Request, run: Callable[[], JSON]) -> httpx.Response:
        refused = f"/executions/{first}/" in request.url.path
        return httpx.Response(status, json={"message": words}) if refused else httpx.Response(200, json=run())

    n8n.answer = refuse_first
    done = drive(begin(live_cast, production, executions=[str(first), str(second)]))
    assert done.status == "COMPLETED" and n8n.retried == [second]
    assert (done.result["retried"], done.result["refused"]) == (1, 1)
    assert done.result["executions"][0]["error"]["message"] == words


def test_n8n_own_fault_is_a_refusal_once_nothing_is_there(
    live_cast: Any, production: Environment, n8n: FakeN8n
) -> None:
    """n8n 2.41.1 answers so where the node that failed is gone from the workflow."""
    number = n8n.ran()
    known(production, n8n)
    n8n.answer = lambda _request, _run: httpx.Response(500, json={"message": "Internal server error"})
    done = drive(begin(live_cast, production, executions=[str(number)]))
    assert (done.status, done.error_code) == ("FAILED", "EXEC_004")
    assert "Internal server error" in done.error_message and n8n.retried == []


def test_a_draft_is_not_run_by_a_retry(live_cast: Any, production: Environment, n8n: FakeN8n) -> None:
    number, n8n.draft = n8n.ran(), True
    known(production, n8n)
    done = drive(begin(live_cast, production, executions=[str(number)]))
    assert done.status == "FAILED" and "draft" in done.error_message and n8n.retried == []


def test_an_n8n_without_the_call_says_so(live_cast: Any, production: Environment, n8n: FakeN8n) -> None:
    number = n8n.ran()
    known(production, n8n)
    n8n.spec = "openapi: 3.0.0\npaths: {/executions: {get: {}}}\n"
    assert drive(begin(live_cast, production, executions=[str(number)])).error_code == "EXEC_001"
    with tenant_scope(production.tenant_id):
        ExecutionFeed.objects.update(can_retry=False)
    with pytest.raises(OpsError) as caught:
        begin(live_cast, production, executions=[str(number)])
    assert caught.value.code == "EXEC_001" and n8n.retried == []


def test_too_many_are_refused_with_their_number(
    live_cast: Any, production: Environment, n8n: FakeN8n, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "RETRIES_AT_MOST", 3)
    for _ in range(5):
        n8n.ran()
    known(production, n8n)
    with pytest.raises(Invalid) as caught:
        begin(live_cast, production, since=clock.now() - timedelta(days=1))
    assert (caught.value.code, caught.value.details["failed"]) == ("EXEC_003", 5)


def test_ids_that_are_nothing_are_not_found(live_cast: Any, production: Environment, n8n: FakeN8n) -> None:
    for ident in ("99", "no-id", "6f1ed002-ab5f-4f53-a2c4-7bb5f1b0a1d9"):
        with pytest.raises(NotFound):
            begin(live_cast, production, executions=[ident])


# -- pages and the API ------------------------------------------------------------------------------------------------


def at(cast: Any, name: str, environment: Environment) -> str:
    return reverse(name, kwargs={"tenant_slug": cast.tenant.slug, "pk": environment.pk})


def signed_in(client: Client, person: Any) -> Client:
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_the_pages_lead_from_the_list_to_the_job(
    live_cast: Any, client: Client, production: Environment, n8n: FakeN8n
) -> None:
    number = n8n.ran()
    n8n.ran("success")
    known(production, n8n)
    signed_in(client, live_cast.operator)
    page = flat(client.get(at(live_cast, "executions", production) + "?status=failed").content)
    assert "https://n8n.example.org/workflow/w1/executions/1" in page and "executions/2" not in page
    with tenant_scope(production.tenant_id):
        ident = Execution.objects.get(number=number).pk
    preview = client.get(at(live_cast, "executions-retry", production), {"selected": str(ident)})
    assert preview.status_code == 200 and "Retry 1 execution<" in flat(preview.content)
    refused = client.post(at(live_cast, "executions-retry", production), {"selected": str(ident)})
    assert refused.status_code == 422 and "is not the environment" in refused.content.decode()
    answer = client.post(at(live_cast, "executions-retry", production), {"selected": str(ident), "typed": "Production"})
    assert answer.status_code == 302 and "/jobs/" in answer["Location"]
    with tenant_scope(production.tenant_id):
        assert drive(Operation.objects.get(kind="executions.retry")).status == "COMPLETED"
    page = flat(client.get(at(live_cast, "executions", production)).content)
    assert "retried as 3" in page and 'name="selected"' not in page
    assert client.get(at(live_cast, "executions", production) + "?status=nonsense").status_code == 200


def test_what_is_confirmed_is_what_was_seen(
    live_cast: Any, client: Client, production: Environment, n8n: FakeN8n
) -> None:
    n8n.ran(minutes=90)
    n8n.ran(minutes=30)
    known(production, n8n)
    signed_in(client, live_cast.operator)
    page = client.get(at(live_cast, "executions-retry", production), {"hours": "1"})
    assert page.context["count"] == 1 and dict(page.context["hidden"])["since"]
    assert client.get(at(live_cast, "executions-retry", production), {"hours": "5000"}).status_code == 422
    assert client.get(at(live_cast, "executions-retry", production), {"since": "x"}).status_code == 422


def test_a_viewer_looks_and_retries_nothing(
    live_cast: Any, client: Client, production: Environment, n8n: FakeN8n
) -> None:
    number = n8n.ran()
    known(production, n8n)
    signed_in(client, live_cast.viewer)
    page = flat(client.get(at(live_cast, "executions", production)).content)
    assert "Failed" in page and 'name="selected"' not in page and "Read now" not in page
    fields = {"selected": str(number), "typed": "Production"}
    assert client.post(at(live_cast, "executions-retry", production), fields).status_code == 403
    assert client.post(at(live_cast, "executions-read", production)).status_code == 403
    _, secret = create_token(user=live_cast.viewer, name="v")
    body = {"environment_id": str(production.pk), "execution_ids": [str(number)]}
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.post("/api/v1/executions/retry", body, "application/json", headers=headers).status_code == 403


def test_the_api_lists_and_retries(live_cast: Any, client: Client, production: Environment, n8n: FakeN8n) -> None:
    for minutes in (50, 40, 30):
        n8n.ran(minutes=minutes)
    n8n.ran("success", minutes=20)
    known(production, n8n)
    _, secret = create_token(user=live_cast.operator, name="o")
    headers = {"Authorization": f"Bearer {secret}"}

    def listed(**query: Any) -> Any:
        return client.get("/api/v1/executions", {"environment_id": production.pk, **query}, headers=headers)

    first = listed(status="failed", limit=2).json()
    assert [row["execution_id"] for row in first["executions"]] == ["3", "2"] and first["reading"]["can_retry"]
    rest = listed(status="failed", limit=2, cursor=first["next_cursor"]).json()
    assert [row["execution_id"] for row in rest["executions"]] == ["1"] and rest["next_cursor"] is None
    assert first["last_24_hours"] == {"runs": 4, "failed": 3, "error_rate": 0.75}
    since = (clock.now() - timedelta(minutes=35)).isoformat()
    assert [row["execution_id"] for row in listed(since=since).json()["executions"]] == ["4", "3"]
    assert len(listed(workflow_id="w1").json()["executions"]) == 4
    assert listed(workflow_id="w2").json()["executions"] == []
    assert listed(status="odd").status_code == 422 and listed(cursor="xx").status_code == 422
    body = {"environment_id": str(production.pk), "since": since}
    answer = client.post("/api/v1/executions/retry", body, "application/json", headers=headers)
    assert answer.status_code == 202 and answer.json()["operation"]["kind"] == "executions.retry"
    nothing = client.post(
        "/api/v1/executions/retry", {"environment_id": str(production.pk)}, "application/json", headers=headers
    )
    assert nothing.status_code == 422
