"""What the composition adds to Django at start-up."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class OpsConsoleConfig(AppConfig):
    """Makes the Celery application the current one in every process, so that tasks reach our broker."""

    name = "opsconsole"

    def ready(self) -> None:
        from . import celery  # noqa: F401


class OpsAdminConfig(AdminConfig):
    """Django's admin with our own site, for platform admins only."""

    default_site = "tenants.admin_site.OpsAdminSite"
