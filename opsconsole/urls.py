"""Every address of the console, put together from the apps."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from audit.urls import platform_urlpatterns as audit_platform
from impersonation.urls import platform_urlpatterns as impersonation_platform
from operations.urls import platform_urlpatterns as operations_platform
from reports.urls import platform_urlpatterns as reports_platform
from snapshots import diff_views
from tenants.urls import platform_urlpatterns as tenants_platform

from . import health, sse
from .api import api
from .api_docs import api_docs
from .command import command
from .estate import estate, platform_health

tenant_urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("tenants.urls")),
    path("", include("audit.urls")),
    path("", include("operations.urls")),
    path("", include("workflows.urls")),
    path("", include("drift.urls")),
    path("", include("snapshots.urls")),
    path("", include("promotions.urls")),
    path("", include("impersonation.urls")),
    path("", include("reports.urls")),
    path("workflows/<slug:key>/", diff_views.workflow, name="workflow"),
    path("workflows/<slug:key>/diff/", diff_views.workflow_diff, name="workflow-diff"),
]

handler404 = "core.middleware.not_found"
handler500 = "core.middleware.server_error"

urlpatterns = [
    path("t/<slug:tenant_slug>/", include(tenant_urlpatterns)),
    path("", estate, name="estate"),
    path("command", command, name="command"),
    path("platform/health/", platform_health, name="platform-health"),
    *tenants_platform,
    *audit_platform,
    *operations_platform,
    *impersonation_platform,
    *reports_platform,
    path("account/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("health", health.health, name="health"),
    path("api/health", health.health),
    path("health/detailed", health.health_detailed, name="health-detailed"),
    path("api/workflows/health", health.workflows_health),
    path("api/v1/background-jobs/status", health.background_jobs_status),
    *[path(f"api/v1/{name}/healthz", health.component_health, {"name": name}) for name in health.NAMED],
    *[path(f"api/v1/sse/{name}", sse.api_stream, {"name": name}) for name in sse.KINDS],
    path("api/v1/docs", api_docs, name="api-docs"),
    path("api/v1/", api.urls),
    path("", include("core.styleguide")),
]
