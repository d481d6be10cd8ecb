"""``/metrics``: whom it is open to, and what the apps let it say."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from core.registry import registry
from operations import services as operations
from operations.models import Operation
from tenants.scope import platform_scope

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "a-token-for-monitoring"


@pytest.fixture
def answered(settings: Any) -> Any:
    """``/metrics`` as text, asked with the token."""
    settings.METRICS_TOKEN = TOKEN

    def ask() -> str:
        answer = Client().get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
        return answer.content.decode()

    return ask


def value(text: str, metric: str) -> float:
    found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
    assert found, f"{metric} is not there:\n{text[-3000:]}"
    return float(found[1])


@pytest.mark.parametrize(
    ("token", "networks", "given", "status"),
    [
        ("", [], "", 404),
        ("", [], "Bearer ", 404),
        (TOKEN, [], "", 404),
        (TOKEN, [], "Bearer another", 404),
        (TOKEN, [], f"Bearer {TOKEN}", 200),
        ("", ["127.0.0.0/8"], "", 200),
        ("", ["10.0.0.0/8", "::1/128"], "", 404),
        (TOKEN, ["10.0.0.0/8"], f"Bearer {TOKEN}", 200),
    ],
)
def test_it_is_there_for_a_token_or_an_address_only(
    settings: Any, token: str, networks: list[str], given: str, status: int
) -> None:
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = token, [ipaddress.ip_network(n) for n in networks]
    assert Client().get("/metrics", headers={"authorization": given}).status_code == status


def test_nobody_is_let_in_for_being_signed_in(cast: Any) -> None:
    client = Client()
    client.force_login(cast.admin)
    assert client.get("/metrics").status_code == 404


def test_it_counts_requests_and_reads_every_gauge(live_cast: Any, answered: Any) -> None:
    Client().get("/health")
    text = answered()
    assert 'django_http_responses_total_by_status_view_method_total{method="GET",status="200",view="health"}' in text
    for gauge in registry.metrics():
        assert f"# TYPE {gauge.name} gauge" in text
    assert "opsconsole_gauge_unread{" not in text
    assert live_cast.tenant.slug not in text and str(live_cast.tenant.pk) not in text


def test_jobs_and_leases_of_every_tenant_are_counted(live_cast: Any, answered: Any) -> None:
    for tenant in (live_cast.tenant, live_cast.other_tenant):
        operations.start(tenant_id=tenant.pk, kind="test.any", title="x", params={}, requested_by=None)
    operations.start(tenant_id=None, kind="test.any", title="x", params={}, requested_by=None)
    with platform_scope():
        stopped = Operation.objects.filter(tenant_id=live_cast.tenant.pk)
        stopped.update(status="FAILED", lease_owner="w", lease_expires_at="2100-01-01T00:00:00Z")
    text = answered()
    assert value(text, 'opsconsole_jobs{status="PENDING"}') == 2
    assert value(text, 'opsconsole_jobs{status="RUNNING"}') == 0
    assert value(text, 'opsconsole_job_leases{state="settling"}') == 1
    assert value(text, "opsconsole_reaper_age_seconds") == -1
    assert value(text, 'opsconsole_drift_incidents{severity="critical"}') == 0
    assert value(text, 'opsconsole_environments{capture="never"}') == 0


def test_a_gauge_that_fails_is_named_and_the_rest_arrives(answered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> float:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")
        return 1.0

    declared = registry.metrics()
    broken = [replace(declared[0], read=fails), *declared[1:]]
    monkeypatch.setattr(type(registry), "metrics", lambda _self: broken)
    text = answered()
    assert value(text, f'opsconsole_gauge_unread{{gauge="{declared[0].name}"}}') == 1
    assert value(text, "opsconsole_oldest_capture_seconds") == 0


def test_a_gauge_only_reads(live_cast: Any, answered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def writes() -> float:
        return float(Operation.objects.create(kind="test.any", title="x") is not None)

    declared = registry.metrics()
    monkeypatch.setattr(type(registry), "metrics", lambda _self: [replace(declared[0], read=writes)])
    assert value(answered(), f'opsconsole_gauge_unread{{gauge="{declared[0].name}"}}') == 1
