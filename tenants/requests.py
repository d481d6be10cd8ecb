"""Who is behind a request, with their types: the one place where Django's and ninja's own are narrowed."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from .models import ApiToken, User


def person_of(request: HttpRequest) -> User:
    """The person of a page that asks for a sign-in; in a support session the customer's."""
    return cast(User, request.user)


def token_of(request: HttpRequest) -> ApiToken:
    """The token of a call of the API, as its authentication left it."""
    return cast(ApiToken, request.auth)  # type: ignore[attr-defined]
