"""The key that signs seals: Ed25519, from the environment; outside production one is made in the data folder."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class SealKey:
    """A private key with its public half (32 bytes) and its short name, by which a seal says who signed it."""

    private: Ed25519PrivateKey
    public: bytes

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.public).hexdigest()[:16]

    @property
    def public_text(self) -> str:
        return base64.b64encode(self.public).decode()

    def sign(self, message: bytes) -> str:
        return base64.b64encode(self.private.sign(message)).decode()


def public_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """A public half in base64, by its short name; raises ImproperlyConfigured."""
    try:
        raw = base64.b64decode(text, validate=True)
        return hashlib.sha256(raw).hexdigest()[:16], Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError) as error:
        raise ImproperlyConfigured("OPSCONSOLE_SEAL_PUBLIC_KEYS holds something that is no public key.") from error


def trusted_keys(own: SealKey) -> dict[str, Ed25519PublicKey]:
    """Whose seals are ours, by the keys' short names: this key's and its forerunners'."""
    return dict(public_key(text) for text in [own.public_text, *settings.SEAL_PUBLIC_KEYS])


def seal_key() -> SealKey:
    """The key in force. Raises ImproperlyConfigured where it is missing or no 32 bytes in base64."""
    text = settings.SEAL_KEY or _made_here()
    try:
        seed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImproperlyConfigured("OPSCONSOLE_SEAL_KEY is not base64.") from error
    if len(seed) != SEED_BYTES:
        raise ImproperlyConfigured(f"OPSCONSOLE_SEAL_KEY must be {SEED_BYTES} bytes in base64.")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return SealKey(private, private.public_key().public_bytes_raw())


def _made_here() -> str:
    if settings.PRODUCTION:
        raise ImproperlyConfigured("OPSCONSOLE_SEAL_KEY is not set.")
    path = settings.HOME / "seal.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # Made whole beside it first: another process must never read half a key.
        draft = path.with_name(f"seal.key.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(base64.b64encode(os.urandom(SEED_BYTES)).decode())
        try:
            os.link(draft, path)
        finally:
            draft.unlink()
    return str(path.read_text()).strip()
