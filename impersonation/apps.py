from django.apps import AppConfig


class ImpersonationConfig(AppConfig):
    name = "impersonation"
    verbose_name = "Impersonation"

    def ready(self) -> None:
        from tenants.api import register_token_check

        from . import checks  # noqa: F401 -- registers itself
        from .middleware import token_in_session

        register_token_check(token_in_session)
