"""The client against a pretended n8n: what is retried, what is not, and how failures are named."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sandbox.schema import PROFILES, openapi
from workflows.content import content_hash, portable
from workflows.n8n import AddressPolicy, Limits, N8nClient, check_connection, errors

SPEC = """
openapi: 3.0.0
info: {version: 1.1.1}
paths:
  /workflows:
    post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/workflow'}}}}}
    get: {}
  /workflows/{id}:
    put: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/workflow'}}}}}
  /tags: {get: {}, post: {}}
  /executions: {get: {}}
components:
  schemas:
    workflow:
      additionalProperties: false
      properties:
        id: {type: string, readOnly: true}
        active: {type: boolean, readOnly: true}
        name: {type: string}
        nodes: {type: array, items: {$ref: '#/components/schemas/node'}}
        connections: {type: object}
        settings: {$ref: '#/components/schemas/settings'}
        staticData: {}
    node:
      additionalProperties: false
      properties: {name: {}, type: {}, typeVersion: {}, parameters: {}, position: {}, id: {}, credentials: {}}
    settings:
      additionalProperties: false
      properties:
        executionOrder: {type: string}
        timezone: {type: string}
        saveDataErrorExecution: {type: string, enum: [all, none]}
        callerPolicy: {type: string}
        brandNew: {type: string}
"""


class FakeN8n:
    """Answers by a list of workflows; `script` holds answers or exceptions that come first."""

    def __init__(self, count: int = 0) -> None:
        self.workflows = [
            {"id": f"w{i:04}", "name": f"n{i}", "nodes": [], "connections": {}, "settings": {}} for i in range(count)
        ]
        self.script: list = []
        self.calls: list[httpx.Request] = []
        self.before_page = lambda number: None
        self.pages = 0
        self.tag_names: dict[str, str] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        if path == "/openapi.yml":
            return httpx.Response(200, text=SPEC)
        self.calls.append(request)
        if self.script:
            answer = self.script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.method == "GET" and path == "/workflows":
            return self._list(request)
        if path == "/tags":
            if request.method == "POST":
                name = json.loads(request.content)["name"]
                self.tag_names[name] = f"t{len(self.tag_names)}"
                return httpx.Response(201, json={"id": self.tag_names[name], "name": name})
            return httpx.Response(200, json={"data": [{"id": i, "name": n} for n, i in self.tag_names.items()]})
        if path.endswith("/tags"):
            return httpx.Response(200, json=[{"name": t["id"]} for t in json.loads(request.content)])
        return httpx.Response(200, json={"id": "w1", **json.loads(request.content or b"{}")})

    def _list(self, request: httpx.Request) -> httpx.Response:
        self.pages += 1
        self.before_page(self.pages)
        limit = int(request.url.params["limit"])
        cursor = request.url.params.get("cursor")
        start = int(base64.b64decode(cursor)) if cursor else 0
        body = {"data": self.workflows[start : start + limit], "nextCursor": None}
        if start + limit < len(self.workflows):
            body["nextCursor"] = base64.b64encode(str(start + limit).encode()).decode()
        data = json.dumps(body).encode()
        etag = f'W/"{hash(data)}"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers={"etag": etag})
        return httpx.Response(200, content=data, headers={"etag": etag})


def client_of(fake, **more) -> N8nClient:
    return N8nClient(
        base_url="http://n8n.test",
        api_key="the-key",
        transport=httpx.MockTransport(fake),
        sleep=lambda _s: None,
        **more,
    )


def content(**more) -> dict:
    return portable({"name": "a", "nodes": [{"name": "N", "type": "t"}], "connections": {}, "settings": {}} | more)


def ids(client: N8nClient, **options) -> list[str]:
    return [w["id"] for page in client.iter_workflow_pages(**options) for w in page.items]


def test_paging_gives_each_workflow_once():
    fake = FakeN8n(23)
    assert ids(client_of(fake), page_size=5) == [w["id"] for w in fake.workflows]


def test_where_a_page_is_more_than_can_be_taken_smaller_ones_are_asked_for():
    fake = FakeN8n(60)
    fake.workflows[40]["pinData"] = {"N": ["x" * 5_000]}
    small = client_of(fake, limits=Limits(max_bytes=5_400))
    assert [w["id"] for w in small.iter_workflows()] == [w["id"] for w in fake.workflows]
    fake.workflows[40]["pinData"] = {"N": ["x" * 9_000]}
    with pytest.raises(errors.TooLarge):
        list(small.iter_workflows())


def test_a_list_by_name_that_never_ends_is_left():
    endless = client_of(lambda _request: httpx.Response(200, json={"data": [], "nextCursor": "again"}))
    assert list(endless.workflows_named("Orders")) == []


def test_a_deletion_while_paging_loses_nobody():
    fake = FakeN8n(20)
    everybody = {w["id"] for w in fake.workflows}

    def delete_one(number: int) -> None:
        if number == 2:
            fake.workflows.pop(0)

    fake.before_page = delete_one
    assert set(ids(client_of(fake), page_size=5)) == everybody


def test_an_addition_while_paging_doubles_nobody():
    fake = FakeN8n(20)

    def add_one(number: int) -> None:
        if number == 2:
            fake.workflows.insert(0, {**fake.workflows[0], "id": "w-new"})

    fake.before_page = add_one
    found = ids(client_of(fake), page_size=5)
    assert len(found) == len(set(found)) == 21


def test_a_list_that_never_rests_is_given_up():
    fake = FakeN8n(20)
    fake.before_page = lambda number: fake.workflows.insert(0, {**fake.workflows[0], "id": f"x{number}"})
    with pytest.raises(errors.ListMoved):
        ids(client_of(fake), page_size=5)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
        httpx.Response(503),
        httpx.Response(429, headers={"retry-after": "1"}),
    ],
)
def test_reads_are_tried_again(failure):
    fake = FakeN8n(1)
    fake.script = [failure, failure]
    assert ids(client_of(fake)) == ["w0000"]
    assert len(fake.calls) == 3


@pytest.mark.parametrize("failure", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.Response(429)])
def test_a_write_that_certainly_did_not_happen_is_tried_again(failure):
    fake = FakeN8n()
    fake.script = [failure]
    assert client_of(fake).update_workflow("w1", content()).id == "w1"
    assert len(fake.calls) == 2


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadTimeout("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.WriteError("x"),
        httpx.Response(502),
        httpx.Response(500, html="<html>"),
        httpx.Response(200, text="<html>"),
    ],
)
@pytest.mark.parametrize("call", ["update", "create", "publish"])
def test_a_write_of_unknown_outcome_is_said_and_never_repeated(failure, call):
    fake = FakeN8n()
    fake.script = [failure]
    client = client_of(fake)
    actions = {
        "update": lambda: client.update_workflow("w1", content()),
        "create": lambda: client.create_workflow(content()),
        "publish": lambda: client.publish("w1"),
    }
    with pytest.raises(errors.AmbiguousWrite):
        actions[call]()
    assert len(fake.calls) == 1


def test_an_answer_without_an_id_is_none():
    fake = FakeN8n()
    fake.script = [httpx.Response(200, json={"ok": True})] * 2
    client = client_of(fake)
    with pytest.raises(errors.AmbiguousWrite):
        client.create_workflow(content())
    with pytest.raises(errors.NotAnApi):
        client.get_workflow("w1")


def test_retry_after_is_honoured_with_a_cap():
    fake, slept = FakeN8n(1), []
    fake.script = [
        httpx.Response(429, headers={"retry-after": "3"}),
        httpx.Response(429, headers={"retry-after": "86400"}),
    ]
    client = N8nClient(
        base_url="http://n8n.test",
        api_key="k",
        transport=httpx.MockTransport(fake),
        sleep=slept.append,
        limits=Limits(max_wait=7),
    )
    assert ids(client) == ["w0000"]
    assert slept == [3, 7]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401, json={"message": "unauthorized"}), errors.Unauthorized),
        (httpx.Response(403, json={"message": "Forbidden"}), errors.ScopeMissing),
        (httpx.Response(403, json={"message": "Your license does not allow for feat:x"}), errors.NotLicensed),
        (httpx.Response(404, json={"message": "Not Found"}), errors.RemoteNotFound),
        (httpx.Response(404, html="<html>"), errors.NotAnApi),
        (httpx.Response(200, html="<html>welcome"), errors.NotAnApi),
        (httpx.Response(302, headers={"location": "https://login.example/"}), errors.NotAnApi),
        (httpx.Response(405, json={"message": "GET method not allowed"}), errors.VersionUnsupported),
        (httpx.Response(400, json={"message": "bad"}), errors.Rejected),
    ],
)
def test_failures_have_names_and_a_way_out(answer, error):
    fake = FakeN8n()
    fake.script = [answer]
    with pytest.raises(error) as caught:
        client_of(fake).get_workflow("w1")
    assert caught.value.recovery
    assert "the-key" not in json.dumps(caught.value.to_dict())
    assert len(fake.calls) == 1


def refusal(act) -> tuple[str, str, str]:
    """Code, sentence and way out of what ``act`` is refused with."""
    with pytest.raises(errors.N8nError) as caught:
        act()
    return caught.value.code, caught.value.message, caught.value.recovery


def test_calls_that_are_too_many_for_it_name_the_wait():
    fake = FakeN8n()
    fake.script = [httpx.Response(429, headers={"retry-after": "9"}) for _ in range(20)]
    code, message, way_out = refusal(lambda: client_of(fake).get_workflow("w1"))
    assert (code, message) == ("N8N_014", "The n8n instance asks to wait before the next call.")
    assert way_out == "Try again after the time it names, or raise the limit of the key."


def test_a_clash_that_n8n_sees_is_told_and_not_tried_again():
    fake = FakeN8n()
    fake.script = [httpx.Response(409, json={"message": "There is a conflict with one of the webhooks."})]
    code, message, way_out = refusal(lambda: client_of(fake).call("POST", "/workflows/w1/activate"))
    assert code == "N8N_016" and "clashes with something that is already there" in message
    assert way_out == "Capture the environment and look at what is there." and len(fake.calls) == 1


def test_what_n8n_never_finishes_unpublishing_is_not_deleted():
    def unpublishing(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(409, json={"message": "Unpublish it first"})
        return (
            httpx.Response(200, text=SPEC)
            if request.url.path.endswith("yml")
            else httpx.Response(200, json={"id": "w1"})
        )

    code, message, way_out = refusal(lambda: client_of(unpublishing).delete("w1"))
    assert code == "N8N_021" and "has not finished unpublishing" in message
    assert way_out == "Try again in some minutes; if it stays so, restart n8n and look at its log."


@pytest.mark.parametrize("odd", ["\ud800", "x" * 70_000])
def test_an_id_that_no_request_can_carry_is_not_sent(odd: str):
    fake = FakeN8n()
    code, message, way_out = refusal(lambda: client_of(fake).get_workflow(odd))
    assert code == "N8N_022" and "so n8n was not asked" in message and "characters that cannot be seen" in way_out
    assert fake.calls == []


def test_an_endless_or_packed_answer_is_cut_off():
    packed = gzip.compress(b'"' + b"a" * 5_000_000 + b'"')
    fake = FakeN8n()
    fake.script = [httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})]
    with pytest.raises(errors.TooLarge):
        client_of(fake, limits=Limits(max_bytes=100_000)).get_workflow("w1")


def test_a_write_sends_only_what_the_instance_takes_and_tells_the_rest():
    fake = FakeN8n()
    full = content(
        nodes=[{"name": "N", "type": "t", "color": 3}],
        active=True,
        tags=[{"name": "x"}],
        pinData={"N": [1]},
        settings={"executionOrder": "v1", "maxExecutions": 3, "saveDataErrorExecution": "DEFAULT"},
        staticData={"a": 1},
    )
    result = client_of(fake).create_workflow(full)
    sent = json.loads(fake.calls[-1].content)
    assert sent == {
        "name": "a",
        "nodes": [{"name": "N", "type": "t"}],
        "connections": {},
        "staticData": {"a": 1},
        "settings": {"executionOrder": "v1", "saveDataErrorExecution": "all"},
    }
    assert {lost["path"] for lost in result.omitted} == {"pinData", "nodes[0].color", "settings.maxExecutions"}


def test_an_update_resets_the_settings_that_the_old_content_did_not_have():
    fake = FakeN8n()
    client = client_of(fake)
    there = {"settings": {"timezone": "Europe/Berlin", "callerPolicy": "any", "brandNew": "x", "executionOrder": "v1"}}
    result = client.update_workflow("w1", content(settings={"executionOrder": "v1"}), current=there)
    sent = json.loads(fake.calls[-1].content)["settings"]
    assert sent == {"executionOrder": "v1", "timezone": "DEFAULT", "callerPolicy": "workflowsFromSameOwner"}
    assert [lost["path"] for lost in result.omitted] == ["settings.brandNew"]
    assert content_hash(content(settings=sent)) == content_hash(content(settings={"executionOrder": "v1"}))


def test_tags_that_are_missing_are_made():
    fake = FakeN8n()
    fake.tag_names = {"old": "t0"}
    assert client_of(fake).set_tags("w1", ["old", "new", "old"]) == ["t0", "t1"]


def test_ids_cannot_leave_their_place_in_the_path():
    fake = FakeN8n()
    client_of(fake).get_workflow("../users?x=1#")
    assert fake.calls[-1].url.raw_path == b"/api/v1/workflows/..%2Fusers%3Fx%3D1%23"


def test_deleting_what_is_gone_is_no_fault():
    fake = FakeN8n()
    fake.script = [httpx.Response(404, json={"message": "Not Found"})]
    assert client_of(fake).delete("w1") is False


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ([], None),
        ([httpx.Response(401, json={"message": "unauthorized"})], "key"),
        ([httpx.Response(403, json={"message": "Forbidden"})], "scope"),
        ([httpx.Response(200, html="<html>")], "n8n"),
        ([httpx.Response(301, headers={"location": "/"})], "n8n"),
        ([httpx.ConnectError("x"), httpx.ConnectError("x")], "reachable"),
        ([httpx.ReadTimeout("x"), httpx.ReadTimeout("x")], "reachable"),
    ],
)
def test_a_connection_report_names_the_step(script, fault):
    fake = FakeN8n(1)
    fake.script = script
    report = check_connection(
        base_url="http://n8n.test", api_key="the-key", transport=httpx.MockTransport(fake), sleep=lambda _s: None
    )
    assert (report.fault.name if report.fault else None) == fault
    assert report.ok == (fault is None)
    assert len(report.checks) == 8
    assert "the-key" not in json.dumps(report.to_json())
    assert all(c.sentence for c in report.checks)
    assert report.fault is None or report.fault.recovery


@pytest.mark.parametrize(
    ("answer", "words", "code"),
    [
        (httpx.Response(403, json={"message": "Forbidden"}), "may not read tags", errors.ScopeMissing.code),
        (httpx.ReadTimeout("x"), "could not be tried", errors.TimedOut.code),
        (httpx.Response(500), "could not be tried", errors.ServerFailed.code),
    ],
)
def test_a_key_without_all_scopes_is_a_warning_and_so_is_no_answer(answer, words, code):
    fake = FakeN8n(1)
    fake.script = [httpx.Response(200, json={"data": []}), *[answer] * (1 if code == errors.ScopeMissing.code else 2)]
    report = check_connection(
        base_url="http://n8n.test", api_key="k", transport=httpx.MockTransport(fake), sleep=lambda _s: None
    )
    assert report.ok
    scope = next(c for c in report.checks if c.name == "scope")
    assert (scope.state, scope.code) == ("warning", code) and words in scope.sentence


@pytest.mark.parametrize(
    ("address", "state"),
    [
        ("http://n8n.test", "warning"),
        ("http://127.0.0.1:5678", "ok"),
        ("http://localhost", "ok"),
        ("https://a", "ok"),
    ],
)
def test_a_key_in_clear_is_warned_of_where_it_leaves_the_machine(address: str, state: str) -> None:
    asked = httpx.MockTransport(FakeN8n(1))
    report = check_connection(base_url=address, api_key="k", policy=AddressPolicy.local(), transport=asked)
    assert next(c.state for c in report.checks if c.name == "tls") == state


def test_an_address_out_of_bounds_is_the_first_step():
    report = check_connection(base_url="http://169.254.169.254/latest", api_key="k", policy=AddressPolicy.local())
    assert report.fault.name == "address"


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_writes_wait_for_each_other_and_reads_do_not(allowed: int) -> None:
    """An n8n before 2.0 on SQLite loses writes that overlap; unasked it gets one at a time."""
    lock, met = threading.Lock(), threading.Barrier(4, timeout=10)
    under_way, most = 0, 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        if request.method == "GET":
            met.wait()  # passes only if all four reads are under way together
            return httpx.Response(200, json={"id": "w"})
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.01)
        with lock:
            under_way -= 1
        return httpx.Response(200, json={"id": "w"})

    client = N8nClient(
        base_url="http://127.0.0.1:1",
        api_key="k",
        policy=AddressPolicy.build(networks=["127.0.0.0/8"], https_only=False),
        limits=Limits(writes_at_once=allowed),
        transport=httpx.MockTransport(answer),
    )
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(client.get_workflow, "abcd"))
        list(pool.map(client.publish, "abcdefgh"))
    assert most <= (allowed or 1)


@pytest.mark.parametrize(("allowed", "together"), [(0, 4), (1, 1)])
def test_an_n8n_that_publishes_versions_gets_four_writes_at_once(allowed: int, together: int) -> None:
    met = threading.Barrier(together, timeout=10)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/openapi.yml"):
            return httpx.Response(200, content=openapi(PROFILES["2.41"]))
        met.wait()  # passes only if that many are under way together
        return httpx.Response(200, json={"id": "w"})

    client = client_of(answer, limits=Limits(writes_at_once=allowed))
    for _ in range(2):  # asked twice, it is not widened twice
        client.spec(fresh=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(client.publish, "abcdefgh"))
    slots = [client._http._writing.acquire(blocking=False) for _ in range(5)]
    assert slots.count(True) == together
