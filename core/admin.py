"""The base of every page of Django's admin here: platform admins look, services write."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class ConsoleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read-only: the rows are written by services, which know the rules and leave a trail."""

    list_per_page = 50
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only by what the list offers as a filter, and only whole values.

        Django allows any look-up of a model's own fields: by `…__startswith` a secret is read letter by letter.
        """
        return lookup in self._lookups_offered()

    def _lookups_offered(self) -> set[str]:
        offered: set[str] = set()
        for entry in self.list_filter:
            name = entry[0] if isinstance(entry, tuple) else entry
            if isinstance(name, str):
                offered |= {name, *(f"{name}__{how}" for how in ("exact", "isnull", "in"))}
        return offered

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.admin_site.has_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.admin_site.has_permission(request)
