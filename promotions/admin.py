"""Promotions in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import ConsoleAdmin

from .models import Promotion


@admin.register(Promotion)
class PromotionAdmin(ConsoleAdmin):
    list_display = ("name", "tenant", "status", "source_environment", "target_environment", "created_by", "created_at")
    list_filter = ("status",)
    search_fields = ("id", "name", "tenant__slug")
    list_select_related = ("tenant", "source_environment", "target_environment", "created_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Promotion]:
        # Plans are hundreds of kilobytes; the list shows nothing of them.
        return super().get_queryset(request).defer("plan", "execution_result", "workflow_keys")

    def view_on_site(self, obj: Promotion) -> str:
        return f"/t/{obj.tenant.slug}/promotions/{obj.pk}/"
