"""The trail in the admin."""

from __future__ import annotations

from django.contrib import admin

from opsconsole.core.admin import ConsoleAdmin

from .models import AuditLog


@admin.register(AuditLog)
class AuditLogAdmin(ConsoleAdmin):
    list_display = ("created_at", "action", "resource_type", "resource_id", "actor_user_id", "source", "tenant_id")
    list_filter = ("action", "source", "resource_type")
    search_fields = ("resource_id", "actor_user_id", "request_id")
