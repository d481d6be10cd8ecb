from typing import Any

from django.apps import AppConfig


class ImpersonationConfig(AppConfig):
    name = "impersonation"
    verbose_name = "Impersonation"

    def ready(self) -> None:
        from tenants.api import register_token_check
        from tenants.signals import access_lost, sign_ins_ended

        from . import checks  # noqa: F401 -- registers itself
        from .middleware import token_in_session

        register_token_check(token_in_session)
        for lost in (access_lost, sign_ins_ended):
            lost.connect(_end_invalid_sessions, dispatch_uid="support-sessions")


def _end_invalid_sessions(sender: Any, user: Any, by: Any, why: str, **kwargs: Any) -> None:
    from .services import end_invalid

    end_invalid(user=user, by=by, why=why)
