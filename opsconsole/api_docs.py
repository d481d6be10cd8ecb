"""``/api/v1/docs``: every call of the API on one page, read off its own OpenAPI; no script from elsewhere."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core.registry import registry
from core.support_rules import OUTSIDE, in_support_session

from .api import api

METHODS = ("get", "post", "put", "patch", "delete")


def others() -> list[tuple[str, str, str]]:
    """Calls outside the OpenAPI: they answer without a token, or as a stream."""
    services, streams = ",".join(registry.health_services()), ",".join(registry.event_streams())
    return [
        ("GET", "/health", "Up or not; without a token"),
        ("GET", "/health/detailed", "Each part with latency and age; without a token"),
        ("GET", "/api/workflows/health", "The coordinator of long work"),
        ("GET", "/api/v1/background-jobs/status", "Workers, queues, running, stuck, failed"),
        ("GET", f"/api/v1/{{{services}}}/healthz", "One component"),
        ("GET", f"/api/v1/sse/{{{streams}}}", "Events as text/event-stream, resumable by Last-Event-ID"),
    ]


def calls() -> list[dict[str, Any]]:
    """Groups of calls by tag, each with its parameters and the fields of its body."""
    schema = api.get_openapi_schema(path_prefix="/api/v1/")
    components = schema.get("components", {}).get("schemas", {})
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            found = item[method]
            groups.setdefault((found.get("tags") or ["other"])[0], []).append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": found.get("summary", ""),
                    "text": found.get("description", ""),
                    "anchor": found.get("operationId", ""),
                    "parameters": [
                        {
                            "name": p["name"],
                            "place": p["in"],
                            "type": _type(p.get("schema", {}), components),
                            "required": p.get("required", False),
                            "default": p.get("schema", {}).get("default"),
                            "text": p.get("description", ""),
                        }
                        for p in found.get("parameters", [])
                    ],
                    "body": _body(found, components),
                }
            )
    return [{"name": name, "calls": rows} for name, rows in groups.items()]


def _resolve(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return components.get(reference.rsplit("/", 1)[-1], {}) if reference else schema


def _type(schema: dict[str, Any], components: dict[str, Any]) -> str:
    if options := schema.get("anyOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_type(option, components) for option in options))
    if "$ref" in schema:
        resolved = _resolve(schema, components)
        return " | ".join(map(str, resolved["enum"])) if "enum" in resolved else str(resolved.get("type", "object"))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), components)}"
    return str(schema.get("format") or schema.get("type") or "any")


def _body(found: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    content = found.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolve(content.get("schema", {}), components)
    required = set(schema.get("required", []))
    return [
        {
            "name": name,
            "type": _type(field, components),
            "required": name in required,
            "default": field.get("default"),
            "text": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


@in_support_session(OUTSIDE)
@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """The page; open to everybody, as the OpenAPI itself is."""
    signed_in = request.user.is_authenticated
    context = {
        "layout": "base.html" if signed_in else "base_public.html",
        "groups": calls(),
        "others": others(),
        "host": request.build_absolute_uri("/").rstrip("/"),
        "openapi_url": "/api/v1/openapi.json",
    }
    return render(request, "estate/api_docs.html", context)
