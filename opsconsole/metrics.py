"""``/metrics`` for Prometheus: requests as django-prometheus counts them, and the gauges that the apps declare.

Open to a token or to addresses, as ``OPSCONSOLE_METRICS_TOKEN`` and ``OPSCONSOLE_METRICS_NETWORKS`` say; while neither
is set, there is no such page. Numbers are of the whole platform: no tenant is named.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Iterator, Mapping

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import Http404
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from core.clients import client_address
from core.declarations import Gauge
from core.registry import registry
from core.support_rules import OUTSIDE, in_support_session
from tenants.scope import platform_scope

logger = structlog.get_logger(__name__)


@in_support_session(OUTSIDE)
def metrics(request: HttpRequest) -> HttpResponse:
    """Everything that is measured, in Prometheus' text format. 404 for whom it is not meant for."""
    if not _may_read(request):
        raise Http404
    body = generate_latest(_of_requests()) + generate_latest(_of_apps())
    response = HttpResponse(body, content_type=CONTENT_TYPE_LATEST)
    response["Cache-Control"] = "no-store"
    return response


def _may_read(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if settings.METRICS_TOKEN and secrets.compare_digest(given.encode(), settings.METRICS_TOKEN.encode()):
        return True
    address = client_address(request)
    return bool(address) and any(ipaddress.ip_address(address) in network for network in settings.METRICS_NETWORKS)


def _of_requests() -> CollectorRegistry:
    """Of this process or, where the web is several that share ``PROMETHEUS_MULTIPROC_DIR``, of all of them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


def _of_apps() -> CollectorRegistry:
    gauges = CollectorRegistry(auto_describe=False)
    gauges.register(_Gauges())
    return gauges


class _Gauges(Collector):
    """Reads every declared gauge anew. One that cannot be read is left out and counted, so that the rest arrives."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        unread = GaugeMetricFamily(
            "opsconsole_gauge_unread", "1 for each gauge that could not be read this time.", labels=["gauge"]
        )
        for gauge in registry.metrics():
            try:
                with platform_scope(read_only=True):
                    values = gauge.read()
            except Exception:
                logger.exception("gauge cannot be read", gauge=gauge.name)
                unread.add_metric([gauge.name], 1)
            else:
                yield _family(gauge, values)
        yield unread


def _family(gauge: Gauge, values: float | Mapping[str, float]) -> GaugeMetricFamily:
    if not isinstance(values, Mapping):
        return GaugeMetricFamily(gauge.name, gauge.description, value=values)
    family = GaugeMetricFamily(gauge.name, gauge.description, labels=[gauge.label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
