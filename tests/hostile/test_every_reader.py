"""Every way of reading an n8n, against every behaviour of a hostile one: a named end within a deadline."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.errors import OpsError
from drift.tests.conftest import Site, make_site, sandbox_server, workflow  # noqa: F401 -- fixtures
from operations.models import Operation
from snapshots.models import Snapshot
from snapshots.preview import preview
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from workflows import live
from workflows.executions import collecting
from workflows.gateway import address_policy, client_for
from workflows.models import Environment
from workflows.n8n import Limits, check_connection, client
from workflows.n8n.http import Http

from .behaviours import BEHAVIOURS, Hostile

DEADLINE_SECONDS = 20
"""Far above what any takes, with limits of half a second: it says that something ends, not how quickly."""

#: Each with the names of codes that an end may have.
NAMED = ("N8N_", "SNAP_", "REST_", "DRIFT_", "CONTENT_", "OPERATION_")


def capture(site: Site, _snapshot: Snapshot) -> Operation:
    return site.capture()


def check(site: Site, _snapshot: Snapshot) -> Operation:
    return site.check()


def restore(site: Site, snapshot: Snapshot) -> Operation:
    operation = start_restore(
        tenant_id=site.tenant.pk, environment_id=site.environment.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    return site.drive(operation)


def look(site: Site, snapshot: Snapshot) -> None:
    preview(tenant_id=site.tenant.pk, environment_id=site.environment.pk, snapshot_id=snapshot.pk)


def live_list(site: Site, _snapshot: Snapshot) -> None:
    live.live_workflows(site.environment)


def executions(site: Site, _snapshot: Snapshot) -> None:
    collecting.collect(site.environment)


def one_workflow(site: Site, _snapshot: Snapshot) -> None:
    with client_for(site.environment) as n8n:
        n8n.get_workflow("1")


def contract(site: Site, _snapshot: Snapshot) -> None:
    with client_for(site.environment) as n8n:
        n8n.spec(fresh=True)


def other_lists(site: Site, _snapshot: Snapshot) -> None:
    with client_for(site.environment) as n8n:
        n8n.tags()


def connection_test(site: Site, _snapshot: Snapshot) -> None:
    report = check_connection(base_url=site.environment.base_url, api_key="key", policy=address_policy())
    assert not report.ok or all(one.sentence for one in report.checks)


READERS: dict[str, Callable[[Site, Snapshot], Operation | None]] = {
    "connection test": connection_test,
    "capture": capture,
    "drift check": check,
    "live list": live_list,
    "executions": executions,
    "one workflow": one_workflow,
    "contract": contract,
    "other lists": other_lists,
    "preview of a restore": look,
    "restore": restore,
}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on every n8n behaves so; nothing is waited for longer than half a second."""
    made = Http.__init__

    def turn(behaviour: str) -> None:
        answer = BEHAVIOURS[behaviour]()

        def quick(self: Http, base_url: str, api_key: str, **options: Any) -> None:
            limits = replace(options.pop("limits", None) or Limits(), total_time=0.4, max_wait=0.01, attempts=2)
            options |= {"limits": limits, "transport": Hostile(answer), "sleep": lambda _seconds: None}
            made(self, base_url, api_key, **options)

        monkeypatch.setattr(Http, "__init__", quick)
        monkeypatch.setattr(client, "_LIST_SECONDS", 1.0)
        monkeypatch.setattr(live, "LIST_SECONDS", 1.0)

    return turn


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_way_of_reading_ends_in_time_and_by_name(
    make_site: Callable[..., Site],  # noqa: F811
    hostile: Callable[[str], None],
    behaviour: str,
) -> None:
    site = make_site()
    site.seed(workflow("Orders"), workflow("Leads"))
    assert site.capture().status == "COMPLETED"
    with tenant_scope(site.tenant.pk):
        snapshot = Snapshot.objects.get(environment=site.environment)
        # An address of its own, of which nothing is remembered.
        address = f"https://{uuid.uuid4().hex}.example.org"
        Environment.objects.filter(pk=site.environment.pk).update(base_url=address)
        site.environment.refresh_from_db()
    hostile(behaviour)
    wrong = [found for name, read in READERS.items() if (found := what_is_wrong(name, read, site, snapshot))]
    assert wrong == []
    with tenant_scope(site.tenant.pk):
        assert not Operation.objects.filter(status__in=["RUNNING", "RETRY_PENDING"]).exists()


def what_is_wrong(name: str, read: Callable[[Site, Snapshot], Operation | None], site: Site, snapshot: Snapshot) -> str:
    began, code, ended = time.monotonic(), "", "COMPLETED"
    try:
        operation = read(site, snapshot)
        if operation is not None:
            code, ended = operation.error_code, operation.status
    except OpsError as error:
        code, ended = error.code, "FAILED"
    except Exception as error:  # noqa: BLE001 -- this is what is looked for
        return f"{name}: {error!r}"
    if time.monotonic() - began > DEADLINE_SECONDS:
        return f"{name}: took {time.monotonic() - began:.0f} s"
    is_named = ended == "COMPLETED" or (ended == "FAILED" and code.startswith(NAMED))
    return "" if is_named else f"{name}: {ended} {code}"
