"""What the composition adds to Django at start-up."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class OpsConsoleConfig(AppConfig):
    """Stands last: collects what the apps declare, and has Celery know of it in every process."""

    name = "opsconsole"

    def ready(self) -> None:
        from core.documents import describe_all
        from core.registry import registry

        from . import celery

        describe_all()

        registry.collect()
        celery.schedule(registry.periodic_tasks())
        from . import checks  # noqa: F401  (they register themselves; they read what was collected)


class OpsAdminConfig(AdminConfig):
    """Django's admin with our own site, for platform admins only."""

    default_site = "tenants.admin_site.OpsAdminSite"
