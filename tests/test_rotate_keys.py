"""Rotating keys: afterwards the old key is not needed any more."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.core.management import call_command

from core import crypto
from tenants.models import Tenant
from tenants.scope import platform_scope


def test_after_rotation_the_new_key_alone_reads_every_secret(cast: Any, settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_KEYS = [old]
    with platform_scope():
        Tenant.objects.filter(pk=cast.tenant.pk).update(git_remote_secret=crypto.encrypt("push-me"))
    settings.FIELD_KEYS = [new, old]
    call_command("rotate_keys", verbosity=0)
    settings.FIELD_KEYS = [new]
    with platform_scope():
        token = Tenant.objects.get(pk=cast.tenant.pk).git_remote_secret
    assert crypto.decrypt(token) == "push-me"
    settings.FIELD_KEYS = [old]
    with pytest.raises(crypto.SecretUnreadable):
        crypto.decrypt(token)


def test_second_factors_are_encrypted_and_rotate(cast: Any, settings: Any) -> None:
    old, new, secret = Fernet.generate_key().decode(), Fernet.generate_key().decode(), "JBSWY3DPEHPK3PXP"
    settings.FIELD_KEYS = [old]
    TOTP.activate(cast.support, secret)
    codes = RecoveryCodes.activate(cast.support).get_unused_codes()
    # Set up before there was encryption.
    plain = Authenticator.objects.create(user=cast.owner, type=Authenticator.Type.TOTP, data={"secret": secret})
    assert TOTP(plain).instance.data["secret"] == secret
    stored = [str(row.data) for row in Authenticator.objects.filter(user=cast.support)]
    assert not any(secret in text for text in stored) and all("gAAAA" in text for text in stored)
    settings.FIELD_KEYS = [new, old]
    call_command("rotate_keys", verbosity=0)
    settings.FIELD_KEYS = [new]
    factors = {row.type: row for row in Authenticator.objects.filter(user=cast.support)}
    assert RecoveryCodes(factors["recovery_codes"]).get_unused_codes() == codes
    for row in (factors["totp"], Authenticator.objects.get(pk=plain.pk)):
        assert crypto.decrypt(row.data["secret"]) == secret
