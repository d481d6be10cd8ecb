"""Tells as JSON what the console makes of the sample app. Run by test_adding_an_app.py in a process of its own."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.template import engines
from django.urls import resolve

from audit import presenters
from core.registry import registry
from core.states import look
from impersonation.reverting.jobs import job_reverter
from impersonation.routes import addresses, rules_of
from operations.handlers import handler_for
from operations.models import Operation
from operations.presenters import subject_url
from opsconsole import celery, command, health
from opsconsole.api import api
from outbox import documents
from tenants.models import Grants, Tenant, User
from tenants.pages import Visit

PK = uuid.UUID(int=7)


def told() -> dict[str, Any]:
    visit = Visit(user=User(), tenant=Tenant(slug="acme", name="Acme"), grants=frozenset({Grants.VIEW}))
    drawn = engines["django"].from_string("{% load ui %}{% rail %}").render({"visit": visit})
    celery.app.loader.import_default_modules()
    return {
        "rail": drawn,
        "command": command._destinations_in(visit, "flasks"),
        "finders": [finder.label for finder in registry.record_finders()],
        "rules": {
            f"{method} {route}": str(rules.rule(method, {}))
            for route, pattern in addresses()
            for method in ("GET", "POST", "DELETE")
            if (rules := rules_of(route, pattern.callback, method)) is not None and "bottle" in route
        },
        "probe": health.probe("shelf"),
        "service": resolve("/api/v1/bottles/healthz").kwargs,
        "stream": resolve("/api/v1/sse/bottles").kwargs,
        "reports": [report.name for report in registry.reports().values()],
        "state": list(look("CORKED")),
        "tile_parts": [part.name for part in registry.tile_parts()],
        "demo": [chapter.name for chapter in registry.demo_chapters()],
        "handler": type(handler_for("bottles.fill")).__name__,
        "reverters": [type(registry.row_reverters()["sample_bottles"]).__name__, job_reverter("bottles.fill").kind],
        "openapi": sorted(path for path in api.get_openapi_schema()["paths"] if "bottle" in path),
        "beat": celery.app.conf.beat_schedule["count-bottles"]["task"],
        "gauges": {gauge.name: gauge.read() for gauge in registry.metrics() if gauge.name == "sample_bottles"},
        "tasks": [name for name in celery.app.tasks if name.startswith("sample_app")],
        "subjects": presenters.resource_choices(),
        "actions": presenters.action_choices(),
        "consumers": {
            consumer.title: [registry.event_types()[documents.type_of(payload).name].words for payload in payloads]
            for consumer in registry.consumers().values()
            if (payloads := [one(PK, "x") for one in consumer.events if consumer.name.startswith("bottles")])
        },
        "noun": registry.noun("sample_bottles"),
        "entry_url": presenters.page_of_subject("sample_bottles", PK, "acme"),
        "job_url": subject_url(Operation(subject_type="bottle", subject_id=PK), "acme"),
    }


def tell() -> None:
    print(json.dumps(told()))
