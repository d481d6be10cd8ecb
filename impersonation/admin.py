"""Support sessions in the admin."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ConsoleAdmin

from .models import ImpersonationSession


@admin.register(ImpersonationSession)
class ImpersonationSessionAdmin(ConsoleAdmin):
    list_display = ("actor_user", "impersonated_user", "impersonated_tenant", "started_at", "ended_at")
    search_fields = ("actor_user__email", "impersonated_user__email")
