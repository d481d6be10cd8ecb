"""Django's admin, for platform admins only, inside the platform's scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import SimpleTemplateResponse

from core.errors import Forbidden

from .permissions import is_platform_admin
from .requests import person_of
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
            known = is_platform_admin(person_of(request))
            request._is_platform_admin = known  # type: ignore[attr-defined]
        return known

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """One door for everybody: Django's own knows neither the second factor nor the limits on guessing."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            raise Forbidden("Only platform admins open the admin.", recovery="Go back to the console.")
        return redirect_to_login(request.GET.get(REDIRECT_FIELD_NAME) or "/admin/")

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The console's own page changes passwords: it asks for the present one, slowly, and tells the trail."""
        return redirect("account_change_password")

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        guarded = super().admin_view(view, cacheable)

        def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            with platform_scope():
                response = guarded(request, *args, **kwargs)
                if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
                    response.render()
                found: HttpResponse = response
                return found

        return scoped
