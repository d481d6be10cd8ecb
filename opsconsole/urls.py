"""Every address of the console, put together from the apps."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.contrib import admin
from django.urls import include, path

from core.registry import registry

from . import health, metrics, sse
from .api import api
from .api_docs import api_docs
from .command import command
from .demo.progress import demo_progress
from .estate import estate, platform_health
from .news import platform_news, tenant_news

_modules: list[Any] = [import_module(name) for name in registry.urls()]

handler404 = "core.middleware.not_found"
handler500 = "core.middleware.server_error"

urlpatterns = [
    path("t/<slug:tenant_slug>/", include([route for module in _modules for route in module.urlpatterns])),
    path("t/<slug:tenant_slug>/news/", tenant_news, name="tenant-news"),
    path("", estate, name="estate"),
    path("news/", platform_news, name="platform-news"),
    path("command", command, name="command"),
    path("demo/progress", demo_progress, name="demo-progress"),
    path("platform/health/", platform_health, name="platform-health"),
    *[route for module in _modules for route in getattr(module, "platform_urlpatterns", ())],
    path("account/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("metrics", metrics.metrics, name="metrics"),
    path("health", health.health, name="health"),
    path("api/health", health.health),
    path("health/detailed", health.health_detailed, name="health-detailed"),
    path("api/workflows/health", health.workflows_health),
    path("api/v1/background-jobs/status", health.background_jobs_status),
    *[path(f"api/v1/{name}/healthz", health.component_health, {"name": name}) for name in registry.health_services()],
    *[path(f"api/v1/sse/{name}", sse.api_stream, {"name": name}) for name in registry.event_streams()],
    path("api/v1/docs", api_docs, name="api-docs"),
    path("api/v1/", api.urls),
    path("", include("core.styleguide")),
]
