from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Trail"

    def ready(self) -> None:
        from . import handlers  # noqa: F401  (listens to sign-ins)
