"""How django-allauth behaves here: no open sign-up, service accounts never sign in, second factors are encrypted."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib import messages
from django.http import HttpRequest

from core import crypto

from . import guessing
from .models import User


class AccountAdapter(DefaultAccountAdapter):
    """People are invited by an owner or a platform admin; nobody signs up alone."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> Any:
        if user.is_service or not user.is_active:
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **kwargs)

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> Any:
        response = super().post_login(request, user, **kwargs)
        guessing.remember(request, response, user)
        return response

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Failures of an account are counted apart for each source, so that nobody locks another out."""
        key: str = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{key}:{guessing.where(request, credentials.get('email', ''))}"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        super().pre_authenticate(request, **credentials)
        if guessing.is_closed(request, credentials.get("email", "")):
            raise self.validation_error("too_many_login_attempts")

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        guessing.note_failure(request, credentials.get("email", ""))

    def confirm_email(self, request: HttpRequest, email_address: Any) -> bool:
        """Not where somebody else has come to sign in with this address meanwhile."""
        if User.objects.filter(email__iexact=email_address.email).exclude(pk=email_address.user_id).exists():
            failed = "account/messages/email_confirmation_failed.txt"
            self.add_message(request, messages.ERROR, failed, {"email": email_address.email})
            return False
        return bool(super().confirm_email(request, email_address))


class MFAAdapter(DefaultMFAAdapter):
    """An app's secret and the seed of recovery codes lie in the database like every other secret."""

    def encrypt(self, text: str) -> str:
        return crypto.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        # Factors set up before secrets were encrypted still open; `rotate_keys` encrypts them.
        return crypto.decrypt(encrypted_text) if crypto.is_token(encrypted_text) else encrypted_text
