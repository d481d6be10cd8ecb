"""The trail in the admin: auditlog's own pages, read-only, and quick however long the trail is."""

from __future__ import annotations

from typing import Any

from auditlog.mixins import LogEntryAdminMixin
from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from core.admin import ConsoleAdmin

from .models import LegalHold, LogEntry, Seal

LARGEST_COUNT = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than anybody pages; narrowing is the way to older entries."""

    @cached_property
    def count(self) -> int:
        with connection.cursor() as cursor:
            rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
            query, params = rows.order_by().values("pk")[:LARGEST_COUNT].query.sql_with_params()
            cursor.execute(f"SELECT count(*) FROM ({query}) AS first", params)  # noqa: S608 -- Django's own SQL
            return int(cursor.fetchone()[0])


admin.site.unregister(LogEntry)  # auditlog registers it with filters that read the whole table


@admin.register(LogEntry)
class LogEntryAdmin(LogEntryAdminMixin, ConsoleAdmin):
    list_display = ("created", "resource_url", "action_name", "msg_short", "user_url", "source", "cid_url")
    list_filter = ("action",)
    search_fields = ("=cid", "=object_pk")
    search_help_text = "A request's id, or the whole id of an object"
    list_select_related = ("actor",)
    paginator = BoundedPaginator
    ordering = ("-timestamp", "-id")
    fieldsets = (
        (None, {"fields": ("created", "user_url", "acting_as_id", "session_id", "source", "database_role", "cid")}),
        ("What", {"fields": ("action_name", "resource_url", "tenant_id", "operation_id", "msg", "details")}),
        ("Order", {"fields": ("id", "epoch", "transaction_id")}),
    )
    readonly_fields = ("created", "user_url", "resource_url", "msg")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        self.request = request
        return super().get_queryset(request)

    @admin.display(description="Changes")
    def msg_short(self, obj: LogEntry) -> str:
        names = ", ".join(obj.changes_dict) if obj.action == LogEntry.Action.UPDATE else ""
        return names if len(names) <= 75 else names[:75] + "…"

    @admin.display(description="Changes")
    def msg(self, obj: LogEntry) -> str:
        return "\n".join(f"{name}: {before} → {after}" for name, (before, after) in obj.changes_display_dict.items())

    @admin.display(description="Resource")
    def resource_url(self, obj: LogEntry) -> str:
        name = obj.object_repr or obj.object_pk
        return str(super().resource_url(obj)) if obj.content_type.app_label else f"{obj.resource_type} {name}"


@admin.register(Seal)
class SealAdmin(ConsoleAdmin):
    list_display = ("number", "sealed_at", "entries", "month", "epoch", "key_id", "chain")
    exclude = ("leaves",)
    ordering = ("-number",)
    paginator = BoundedPaginator

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("leaves")


@admin.register(LegalHold)
class LegalHoldAdmin(ConsoleAdmin):
    list_display = ("tenant", "reason", "placed_by", "created_at", "released_at")
    list_select_related = ("tenant", "placed_by")
