"""A support session is ended while its pages, its event streams and a bulk stabilize are under way: all of it stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.runbook.estate import Estate, running_estate

pytestmark = [pytest.mark.console, pytest.mark.xdist_group("runbook")]
#: A busy machine is waited for; how long it took stands in the report (``--junitxml``).
PATIENCE = 60
DRIFTED = 8
WRITE_SECONDS = 1.0


@pytest.fixture(scope="module")
def estate(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with running_estate(django_db_blocker, tmp_path_factory.mktemp("support")) as made:
        yield made


def browser(estate: Estate, user: Any) -> httpx.Client:
    """A signed-in browser whose second factor is fresh."""
    from impersonation.tests.conftest import at_browser

    cookies = {"sessionid": at_browser(user).cookies["sessionid"].value}
    return httpx.Client(base_url=estate.url, cookies=cookies, timeout=60)


def post(client: httpx.Client, path: str, told: dict[str, Any]) -> httpx.Response:
    if "csrftoken" not in client.cookies:
        client.get("/platform/support/mine/")
    headers = {"X-CSRFToken": client.cookies["csrftoken"], "Referer": str(client.base_url)}
    return client.post(path, data=told, headers=headers)


def enter(estate: Estate) -> httpx.Client:
    """Support in a writing session as the operator."""
    from impersonation.tests.conftest import REASON, WHY_WRITE, agree

    client = browser(estate, estate.cast.support)
    told = {"tenant": "acme", "person": str(estate.cast.operator.pk), "reason": REASON}
    assert post(client, "/platform/support/start/", told).status_code == 302
    assert post(client, "/platform/support/mine/ask/", {"reason": WHY_WRITE}).status_code == 302
    assert agree(estate.cast.owner) == 302
    assert post(client, "/platform/support/mine/write/", {}).status_code == 302
    return client


def listen(client: httpx.Client, path: str, ready: threading.Event) -> float:
    """Hear a stream to its end; when that was."""
    with client.stream("GET", path, timeout=60) as answer:
        assert answer.status_code == 200
        for _ in answer.iter_lines():
            ready.set()
    return time.monotonic()


def test_everything_of_a_session_stops_with_it(estate: Estate, record_property: Any) -> None:
    incidents = estate.drift(DRIFTED)
    client = enter(estate)
    page = client.get("/t/acme/drift/")
    assert page.status_code == 200 and 'id="support-banner"' in page.text
    estate.production_n8n.fault(kind="latency", seconds=WRITE_SECONDS, method="PUT")
    estate.production_n8n.clear_calls()
    told = {"action": "stabilize", "selected": incidents, "confirmed": "1", "typed": "Production", "comment": "Back"}
    started = post(client, "/t/acme/drift/settle/", told)
    assert started.status_code == 302, started.text[:3000]
    job = started.headers["Location"]
    ready = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(listen, client, f"{job}events/", ready)
        assert ready.wait(60)
        wait_for(lambda: len(estate.production_n8n.calls(method="PUT")) >= 2)
        ended = estate.api.post(
            "/platform/impersonate/stop", json={"session_id": session_id(estate), "force": True, "reason": "Incident"}
        )
        assert ended.status_code == 200, ended.text
        at = time.monotonic()
        assert client.get("/t/acme/drift/").status_code == 403
        record_property("stream_seconds", stream.result(PATIENCE) - at)
    operation = job.strip("/").rpartition("/")[2]
    wait_for(lambda: status(estate, operation) == "CANCELLED")
    record_property("job_seconds", time.monotonic() - at)
    estate.production_n8n.clear_faults()
    # What it had written before it stopped may have been put back; the rest it never came to.
    assert any(
        "byHand" in node["parameters"] for w in estate.production_n8n.state()["workflows"] for node in w["nodes"]
    )
    from impersonation.tests.conftest import trail

    entries = trail(session=session_id(estate))
    end = next(e for e in entries if e.action == "IMPERSONATION_END")
    # The answers of requests that were on their way are put on record after it; nothing is begun any more.
    intended = [e for e in entries if e.action == "EFFECT_INTENDED"]
    under_way = {e.details["step"] for e in intended if e.pk < end.pk}
    assert [e for e in intended if e.pk > end.pk] == []
    after = [e for e in entries if e.pk > end.pk and e.action in ("CREATE", "UPDATE", "DELETE")]
    written = [e for e in after if e.resource_type == "workflows"]
    assert {e.details["step"] for e in written} <= under_way
    assert [e for e in after if e.resource_type not in ("workflows", "background_jobs", "operation_steps")] == []


def session_id(estate: Estate) -> str:
    from impersonation.tests.conftest import session_of

    return str(session_of(estate.cast.support).pk)


def status(estate: Estate, operation: str) -> str:
    return str(estate.api.get(f"/operations/{operation}").json()["operation"]["status"])


def wait_for(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
