"""Operations in the admin."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ConsoleAdmin

from . import presenters
from .models import Operation, OperationStep, Schedule


@admin.register(Operation)
class OperationAdmin(ConsoleAdmin):
    list_display = ("title", "kind", "status", "tenant", "attempt", "created_at", "ended_at")
    list_filter = ("status", "kind")
    search_fields = ("id", "title", "error_code")
    list_select_related = ("tenant",)

    def view_on_site(self, obj: Operation) -> str:
        return presenters.job_url(obj)


@admin.register(OperationStep)
class OperationStepAdmin(ConsoleAdmin):
    list_display = ("title", "operation", "position", "state", "attempt", "started_at", "ended_at")
    list_filter = ("state",)
    search_fields = ("operation__id", "name")
    list_select_related = ("operation",)
    # As its index has them: any other order sorts every step there ever was.
    ordering = ("tenant_id", "operation_id", "position")


@admin.register(Schedule)
class ScheduleAdmin(ConsoleAdmin):
    list_display = ("name", "kind", "tenant", "every_seconds", "cron", "is_enabled", "next_run_at", "last_run_at")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name",)
