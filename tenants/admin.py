"""People and tenants in the admin."""

from __future__ import annotations

import django.contrib.auth.admin  # noqa: F401 -- registered first, to be taken away
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group

from core.admin import ConsoleAdmin

from .models import (
    ApiToken,
    Invitation,
    Membership,
    PlatformAdmin,
    Tenant,
    TenantUserObjectPermission,
    User,
    UserSession,
)

# Their own pages would write, and a second factor is nobody else's to read.
admin.site.unregister([EmailAddress, Authenticator, Group])


@admin.register(Tenant)
class TenantAdmin(ConsoleAdmin):
    list_display = ("name", "slug", "status", "created_at")
    search_fields = ("name", "slug")
    list_filter = ("status",)
    exclude = ("git_remote_secret",)

    def view_on_site(self, obj: Tenant) -> str:
        return f"/t/{obj.slug}/"


@admin.register(User)
class UserAdmin(ConsoleAdmin):
    list_display = ("email", "name", "role", "is_active", "is_service", "last_login")
    search_fields = ("email", "name")
    list_filter = ("role", "is_active", "is_service")
    exclude = ("password", "user_permissions", "groups")


@admin.register(PlatformAdmin)
class PlatformAdminAdmin(ConsoleAdmin):
    list_display = ("user", "created_at", "created_by")
    search_fields = ("user__email",)


@admin.register(Membership)
class MembershipAdmin(ConsoleAdmin):
    list_display = ("user", "tenant", "role", "created_at")
    list_filter = ("role",)
    search_fields = ("user__email", "tenant__name")
    list_select_related = ("user", "tenant")


@admin.register(Invitation)
class InvitationAdmin(ConsoleAdmin):
    list_display = ("email", "tenant", "role", "invited_by", "created_at", "expires_at", "accepted_at")
    list_filter = ("role",)
    search_fields = ("email", "tenant__name")
    list_select_related = ("tenant", "invited_by")
    exclude = ("secret_digest",)


@admin.register(TenantUserObjectPermission)
class TenantGrantAdmin(ConsoleAdmin):
    list_display = ("user", "permission", "content_object")
    search_fields = ("user__email", "content_object__name")
    list_select_related = ("user", "permission__content_type", "content_object")


@admin.register(ApiToken)
class ApiTokenAdmin(ConsoleAdmin):
    list_display = ("name", "prefix", "user", "tenant", "expires_at", "last_used_at", "revoked_at")
    search_fields = ("name", "prefix", "user__email")
    list_select_related = ("user", "tenant")
    exclude = ("token_hash",)


@admin.register(UserSession)
class UserSessionAdmin(ConsoleAdmin):
    list_display = ("user", "ip_address", "user_agent", "created_at", "last_seen_at", "expire_date")
    search_fields = ("user__email", "ip_address")
    list_select_related = ("user",)
    fields = ("user", "ip_address", "user_agent", "created_at", "last_seen_at", "expire_date")
