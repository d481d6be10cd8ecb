"""Secrets at rest: encrypted with the first key, readable with any of them.

Rotation: put a new key in front of ``OPSCONSOLE_FIELD_KEYS``, run ``manage.py rotate_keys``, drop the old one.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from .errors import OpsError


class SecretUnreadable(OpsError):
    code = "SECRET_UNREADABLE"
    title = "A stored secret cannot be read"
    message = "The stored secret was encrypted with a key that is no longer configured."
    recovery = "Put the old key back at the end of OPSCONSOLE_FIELD_KEYS, or enter the secret again."
    status = 500


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(plain: str) -> str:
    """The token to store for a secret text."""
    return _fernet(tuple(settings.FIELD_KEYS)).encrypt(plain.encode()).decode()


def is_token(text: str) -> bool:
    """Whether a stored text is encrypted at all: every token begins with its version."""
    return text.startswith("gAAAA")


def decrypt(token: str) -> str:
    """The secret text behind a stored token; raises ``SecretUnreadable``."""
    try:
        return _fernet(tuple(settings.FIELD_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable from error


def rotate(token: str) -> str:
    """The same secret under the newest key."""
    try:
        return _fernet(tuple(settings.FIELD_KEYS)).rotate(token.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable from error
