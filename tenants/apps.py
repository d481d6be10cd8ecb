from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = "Tenants and people"

    def ready(self) -> None:
        from . import receivers  # noqa: F401  (listens to new passwords)
        from .declared_grants import make_declared_grants

        post_migrate.connect(make_declared_grants, sender=self, dispatch_uid="declared-grants")
