"""Passwords tried at the sign-in form: slowed for whoever guesses, never for the person whose account it is.

Failures count for an account *at an address*, so that guessing from one does not lock it for all. Guessing spread over
many addresses meets a limit for the account as well, which a browser that has signed in to it before is free of.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from core import limits
from core.clients import client_address

COOKIE = "opsconsole_known"
_SALT = "opsconsole.known-browser"
KEPT_SECONDS = 365 * 24 * 3600
_MOST_PEOPLE = 8
#: Failures for one account, from wherever, after which an unknown browser has to wait.
MOST_FAILURES, WINDOW_SECONDS = 50, 3600
_FAILED = "sign-in-failed"


def _digest(email: str) -> str:
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()[:24]


def _known(request: HttpRequest) -> list[str]:
    """Of which people this browser has signed in before; empty where its cookie was not written here."""
    try:
        found = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature:
        return []
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def is_known(request: HttpRequest, email: str) -> bool:
    """Whether the person of this address has signed in from this browser before."""
    return _digest(email) in _known(request)


def where(request: HttpRequest, email: str) -> str:
    """The source of a try, as tries are counted: the known browser, else the address."""
    if is_known(request, email):
        return "browser:" + hashlib.sha256(request.COOKIES[COOKIE].encode()).hexdigest()[:24]
    return f"address:{client_address(request)}"


def note_failure(request: HttpRequest, email: str) -> None:
    """Count a wrong password. Those of a known browser are limited by themselves."""
    if not is_known(request, email):
        limits.count(_FAILED, _digest(email), seconds=WINDOW_SECONDS)


def is_closed(request: HttpRequest, email: str) -> bool:
    """Whether so many have failed that only browsers which know the account may still try."""
    return limits.counted(_FAILED, _digest(email)) >= MOST_FAILURES and not is_known(request, email)


def remember(request: HttpRequest, response: HttpResponseBase, user: Any) -> None:
    """Let the browser be known for this person from now on."""
    people = [_digest(user.email), *(one for one in _known(request) if one != _digest(user.email))][:_MOST_PEOPLE]
    response.set_cookie(
        COOKIE,
        signing.dumps(people, salt=_SALT),
        max_age=KEPT_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.PRODUCTION,
    )
