"""Clients for the n8n of an environment. The only module that decrypts an API key."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings

from core import crypto, pacing, support
from core.errors import NotFound
from core.ids import uuid_or_not_found
from tenants.scope import assert_no_scope, tenant_scope

from .errors import EnvironmentArchived, NoApiKey
from .models import Environment
from .n8n import AddressPolicy, Limits, N8nClient


def address_policy() -> AddressPolicy:
    """Where clients may connect, from the settings."""
    return AddressPolicy.build(networks=settings.N8N_ALLOWED_NETWORKS, https_only=not settings.N8N_ALLOW_HTTP)


def _from_settings() -> dict[str, int]:
    return {"writes_at_once": settings.N8N_WRITES_AT_ONCE, "max_bytes": settings.N8N_LARGEST_ANSWER_MIB * 1024 * 1024}


def client_for(environment: Environment, **limits: Any) -> N8nClient:
    """A client for the environment's instance; call outside any scope and close it (it is a context manager).

    ``limits`` are those of ``n8n.Limits`` that differ from the default. Raises ``NoApiKey``, ``EnvironmentArchived`` or
    ``SecretUnreadable``.
    """
    assert_no_scope("A connection to n8n")
    pacing.step_aside()
    support.refuse_reading_only("A call to n8n")
    if environment.is_archived:
        raise EnvironmentArchived(details={"environment_id": str(environment.pk)})
    if not environment.api_key_encrypted:
        raise NoApiKey(details={"environment_id": str(environment.pk)})
    return N8nClient(
        base_url=environment.base_url,
        api_key=crypto.decrypt(environment.api_key_encrypted),
        policy=address_policy(),
        limits=Limits(**{**_from_settings(), **limits}),
    )


def quick_client_for(environment: Environment) -> N8nClient:
    """As ``client_for``, for calls that a person waits for: it gives up early."""
    assert_no_scope("A connection to n8n")
    pacing.step_aside()
    support.refuse_reading_only("A call to n8n")
    if environment.is_archived or not environment.api_key_encrypted:
        raise NoApiKey(details={"environment_id": str(environment.pk)})
    return N8nClient(
        base_url=environment.base_url,
        api_key=crypto.decrypt(environment.api_key_encrypted),
        policy=address_policy(),
        limits=Limits(connect=5.0, read=15.0, total_time=20.0, attempts=2),
    )


def environment_by_id(tenant_id: uuid.UUID, environment_id: uuid.UUID | str) -> Environment:
    """One environment of the tenant; ``NotFound`` where it does not exist, is another's, or the id is no UUID."""
    wanted = uuid_or_not_found(environment_id)
    with tenant_scope(tenant_id):
        environment = Environment.objects.filter(pk=wanted).first()
    if environment is None:
        raise NotFound
    return environment


def environment_by_slug(tenant_id: uuid.UUID, slug: str) -> Environment:
    """One environment of the tenant by its short name, or ``NotFound``."""
    with tenant_scope(tenant_id):
        environment = Environment.objects.filter(slug=slug).first()
    if environment is None:
        raise NotFound
    return environment
