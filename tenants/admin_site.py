"""Django's admin, for platform admins only, inside the platform's scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse

from .permissions import is_platform_admin
from .scope import platform_scope


class OpsAdminSite(admin.AdminSite):
    """Asks ``platform_admins`` at every request: no flag on the person keeps the door open afterwards."""

    site_header = "OpsConsole admin"
    site_title = "OpsConsole admin"
    index_title = "Records"
    site_url = "/"

    def has_permission(self, request: HttpRequest) -> bool:
        # Asked for every model on the page: once a request is enough.
        known: bool | None = getattr(request, "_is_platform_admin", None)
        if known is None:
            known = is_platform_admin(request.user)  # type: ignore[arg-type]
            request._is_platform_admin = known  # type: ignore[attr-defined]
        return known

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        guarded = super().admin_view(view, cacheable)

        def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            with platform_scope():
                response = guarded(request, *args, **kwargs)
                if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
                    response.render()
                return response

        return scoped
