"""Rotating keys: afterwards the old key is not needed any more."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command

from opsconsole.core import crypto
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
