"""What follows from news of the packages that sign people in."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed, password_reset
from django.dispatch import receiver
from django.http import HttpRequest

from . import people
from .models import User
from .sessions import stored_key


@receiver([password_changed, password_reset], dispatch_uid="sign-ins-elsewhere")
def sign_out_elsewhere(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Django refuses other browsers at their next request; their streams would go on until then.

    Tokens end with the old password: whoever had it may have made one.
    """
    people.revoke_tokens_of(user=user)
    people.end_sign_ins(user=user, by=user, keep=stored_key(request.session.session_key), why="password changed")
