"""Reports in the admin, read only."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ConsoleAdmin

from .models import ReportRun, ReportSchedule


@admin.register(ReportRun)
class ReportRunAdmin(ConsoleAdmin):
    list_display = ("created_at", "report", "format", "status", "rows", "mail_status", "tenant_id")
    list_filter = ("report", "status", "format")


@admin.register(ReportSchedule)
class ReportScheduleAdmin(ConsoleAdmin):
    list_display = ("report", "frequency", "hour", "timer", "tenant_id")
    list_select_related = ("timer",)
    list_filter = ("report", "frequency")
