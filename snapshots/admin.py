"""Snapshots in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import ConsoleAdmin

from .models import Rehearsal, Snapshot


@admin.register(Snapshot)
class SnapshotAdmin(ConsoleAdmin):
    list_display = ("created_at", "tenant", "environment", "snapshot_type", "workflow_count", "git_commit_sha")
    list_filter = ("snapshot_type",)
    search_fields = ("id", "git_commit_sha", "description", "tenant__name", "environment__name")
    list_select_related = ("tenant", "environment")
    # Thousands of entries would not help anybody in a text area; the console's page has them.
    exclude = ("workflows",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Snapshot]:
        return super().get_queryset(request).defer("workflows")

    def view_on_site(self, obj: Snapshot) -> str:
        return f"/t/{obj.tenant.slug}/snapshots/{obj.pk}/"


@admin.register(Rehearsal)
class RehearsalAdmin(ConsoleAdmin):
    list_display = ("created_at", "tenant", "environment", "version", "finished_at")
    search_fields = ("id", "version", "tenant__name", "environment__name")
    list_select_related = ("tenant", "environment")
    exclude = ("report",)

    def view_on_site(self, obj: Rehearsal) -> str:
        return f"/t/{obj.tenant.slug}/rehearsals/{obj.pk}/"
