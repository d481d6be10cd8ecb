"""How django-allauth behaves here: no open sign-up, service accounts never sign in."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """People are invited by an owner or a platform admin; nobody signs up alone."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> Any:
        if user.is_service or not user.is_active:
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **kwargs)
