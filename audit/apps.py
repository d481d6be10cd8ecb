from django.apps import AppConfig
from django.db.backends.signals import connection_created


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Trail"

    def ready(self) -> None:
        from . import checks, handlers  # noqa: F401  (the checks register themselves; the handlers listen to sign-ins)
        from .unscoped_writes import announce_outside_scopes

        connection_created.connect(announce_outside_scopes, dispatch_uid="trail-outside-scopes")
