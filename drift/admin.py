"""Drift in the admin."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ConsoleAdmin

from .models import DriftIncident, DriftMemory, DriftPolicy, DriftScheduler, N8nInstance, N8nUpgrade


@admin.register(DriftIncident)
class DriftIncidentAdmin(ConsoleAdmin):
    list_display = ("workflow_env_map", "kind", "severity", "incident_state", "tenant", "created_at", "ttl_expires_at")
    list_filter = ("incident_state", "severity", "kind")
    search_fields = ("id", "workflow_env_map__env_name")
    list_select_related = ("workflow_env_map", "tenant")

    def view_on_site(self, obj: DriftIncident) -> str:
        return f"/t/{obj.tenant.slug}/drift/{obj.pk}/"


@admin.register(DriftPolicy)
class DriftPolicyAdmin(ConsoleAdmin):
    list_display = ("tenant", "enforce_ttl", "block_on_active_drift", "ttl_hours_critical", "ttl_hours_high")
    list_select_related = ("tenant",)


@admin.register(DriftScheduler)
class DriftSchedulerAdmin(ConsoleAdmin):
    list_display = ("tenant", "is_running", "every_seconds", "stopped_at", "last_run_at")
    list_filter = ("is_running",)
    list_select_related = ("tenant",)


@admin.register(DriftMemory)
class DriftMemoryAdmin(ConsoleAdmin):
    list_display = ("environment", "tenant", "updated_at")
    list_select_related = ("environment", "tenant")
    exclude = ("pages",)


@admin.register(N8nUpgrade)
class N8nUpgradeAdmin(ConsoleAdmin):
    list_display = ("noticed_at", "tenant", "environment", "from_version", "to_version", "by_n8n", "by_people")
    search_fields = ("id", "tenant__name", "environment__name")
    list_select_related = ("tenant", "environment")
    # Thousands of changes would not help anybody in a text area; the console's page has them.
    exclude = ("changes",)

    def view_on_site(self, obj: N8nUpgrade) -> str:
        return f"/t/{obj.tenant.slug}/drift/upgrades/{obj.pk}/"


@admin.register(N8nInstance)
class N8nInstanceAdmin(ConsoleAdmin):
    list_display = ("environment", "tenant", "seen_at")
    list_select_related = ("environment", "tenant")
