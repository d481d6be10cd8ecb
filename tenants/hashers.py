"""Password hashes, encrypted: whoever reads the table or a dump of it has nothing to try passwords against."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import BasePasswordHasher, PBKDF2PasswordHasher
from django.utils.crypto import constant_time_compare

from core import crypto

ALGORITHM = "sealed"


def sealed(hashed: str) -> str:
    """How a password's hash is stored."""
    return f"{ALGORITHM}${crypto.encrypt(hashed)}"


def unsealed(stored: str) -> str:
    """The hash behind what is stored; what was never encrypted, or is no hash, as it is."""
    algorithm, _, token = stored.partition("$")
    return crypto.decrypt(token) if algorithm == ALGORITHM else stored


class SealedPasswordHasher(BasePasswordHasher):
    """PBKDF2, under the keys that encrypt other secrets. One that lies there unencrypted is encrypted at a sign-in."""

    algorithm = ALGORITHM
    _inner = PBKDF2PasswordHasher()

    def salt(self) -> str:
        return self._inner.salt()

    def encode(self, password: str, salt: str) -> str:
        return sealed(self._inner.encode(password, salt))

    def decode(self, encoded: str) -> Any:
        return {**self._inner.decode(unsealed(encoded)), "algorithm": self.algorithm}

    def verify(self, password: str, encoded: str) -> bool:
        hashed = unsealed(encoded)
        known: dict[str, Any] = dict(self._inner.decode(hashed))
        return constant_time_compare(hashed, self._inner.encode(password, known["salt"], known["iterations"]))

    def safe_summary(self, encoded: str) -> Any:
        return self._inner.safe_summary(unsealed(encoded))

    def must_update(self, encoded: str) -> bool:
        return self._inner.must_update(unsealed(encoded))

    def harden_runtime(self, password: str, encoded: str) -> None:
        self._inner.harden_runtime(password, unsealed(encoded))
