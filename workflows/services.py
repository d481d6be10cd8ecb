"""Writes about environments: add, change, archive, test, and how often they are captured."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.text import slugify

from core import clock, crypto
from core.errors import NotFound
from operations import services as operations
from operations.models import Operation, OperationStatus, Schedule, holding
from tenants.models import User
from tenants.scope import tenant_scope

from .domain_events import publish_reachability
from .errors import EnvironmentInUse, EnvironmentInvalid, EnvironmentSlugTaken
from .gateway import address_policy
from .models import ConnectionStatus, Environment, EnvironmentKind
from .n8n.errors import AddressRefused
from .n8n.report import ConnectionReport

TEST_KIND = "environments.test"
CAPTURE_KIND = "snapshots.capture"
LARGEST_KEY = 4096
SHORTEST_INTERVAL_SECONDS = 60


def clean_base_url(base_url: str) -> str:
    """The address as it is kept: http(s), no credentials, no query, no `/api/v1`. Raises ``EnvironmentInvalid``."""
    try:
        return address_policy().check_url(base_url)[:500]
    except AddressRefused as error:
        raise EnvironmentInvalid(
            error.message, details={"base_url": [error.message]}, recovery=error.recovery
        ) from error


def _clean_key(api_key: str) -> str:
    key = api_key.strip()
    if len(key) > LARGEST_KEY or any(ord(c) < 33 or ord(c) > 126 for c in key):
        raise EnvironmentInvalid(
            "That does not look like an API key.",
            details={"api_key": ["A key is one word of plain characters, as n8n shows it."]},
        )
    return key


def create_environment(
    *,
    tenant_id: uuid.UUID,
    name: str,
    kind: str,
    base_url: str,
    api_key: str = "",
    slug: str = "",
    position: int | None = None,
) -> Environment:
    """A new environment, the last in the pipeline unless ``position`` is given.

    The key is encrypted and never shown again. Raises ``EnvironmentInvalid`` (details by field) or
    ``EnvironmentSlugTaken``.
    """
    name = name.strip()
    slug = slug.strip().lower() or slugify(name)[:48].strip("-")
    url, key = clean_base_url(base_url), _clean_key(api_key)
    with tenant_scope(tenant_id):
        if position is None:
            last = Environment.objects.filter(is_archived=False).aggregate(last=Max("position"))["last"]
            position = 0 if last is None else last + 1
        environment = Environment(
            tenant_id=tenant_id,
            name=name,
            slug=slug,
            kind=kind,
            position=position,
            base_url=url,
            api_key_encrypted=crypto.encrypt(key) if key else "",
        )
        _clean(environment)
        if Environment.objects.filter(slug=slug).exists():
            raise EnvironmentSlugTaken(details={"slug": ["Another environment already uses this short name."]})
        try:
            with transaction.atomic():
                environment.save(force_insert=True)
        except IntegrityError as error:
            raise EnvironmentSlugTaken(details={"slug": [slug]}) from error
        return environment


def update_environment(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    name: str | None = None,
    kind: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    position: int | None = None,
) -> Environment:
    """Change what is given; the short name stays for ever, because Git's branches bear it.

    Another address needs the key again: a stored key is never sent to an address it was not entered for. Raises
    ``EnvironmentInvalid``, and ``EnvironmentInUse`` where the address changes while a job writes to the environment.
    """
    new_key = (api_key or "").strip()
    with tenant_scope(tenant_id):
        environment = _locked(environment_id)
        environment.name = environment.name if name is None else name.strip()
        environment.kind = environment.kind if kind is None else kind
        environment.position = environment.position if position is None else position
        if base_url is not None:
            _move(environment, clean_base_url(base_url), has_new_key=bool(new_key))
        if new_key:
            environment.api_key_encrypted = crypto.encrypt(_clean_key(new_key))
            environment.connection_status = ConnectionStatus.UNKNOWN
        _clean(environment)
        environment.save()
        return environment


def _move(environment: Environment, base_url: str, *, has_new_key: bool) -> None:
    """Set another address; nothing that is known of the instance at the old one holds any more."""
    if base_url == environment.base_url:
        return
    # Work that is half done at the old address would be continued or undone at the new one.
    _refuse_while_busy(environment, exclusive_key=environment.write_lock)
    if environment.api_key_encrypted and not has_new_key:
        raise EnvironmentInvalid(
            "Another address needs its API key.",
            details={"api_key": ["Enter the key of the instance at the new address."]},
            recovery="Enter the API key of the instance at the new address.",
        )
    environment.base_url = base_url
    environment.connection_status = ConnectionStatus.UNKNOWN
    environment.connection_report, environment.n8n_version = None, ""


def archive_environment(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> Environment:
    """Keep the environment for its history only: its key is deleted, its schedules stop."""
    with tenant_scope(tenant_id):
        environment = _locked(environment_id)
        _refuse_while_busy(environment, environment_id=environment_id)
        environment.is_archived = True
        environment.api_key_encrypted = ""
        environment.connection_status = ConnectionStatus.UNKNOWN
        environment.save()
        Schedule.objects.filter(environment_id=environment_id).update(is_enabled=False, updated_at=clock.now())
        return environment


def unarchive_environment(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> Environment:
    """Unarchive an environment; its API key must be entered again."""
    with tenant_scope(tenant_id):
        environment = _locked(environment_id)
        environment.is_archived = False
        environment.save()
        return environment


def start_test_connection(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    requested_by: User | None,
    idempotency_key: str | None = None,
    is_new: bool = False,
) -> Operation:
    """Test the connection step by step, as an operation; the report stays on the environment.

    While one is still waiting to begin, that one is returned. ``is_new``: once it holds, the environment is captured.
    """
    with tenant_scope(tenant_id):
        environment = Environment.objects.filter(pk=environment_id, is_archived=False).first()
        if environment is None:
            raise NotFound
        waiting = Operation.objects.filter(
            kind=TEST_KIND, environment_id=environment.pk, status=OperationStatus.PENDING
        ).first()
        if waiting is not None and not idempotency_key:
            return waiting
        return operations.start(
            tenant_id=tenant_id,
            kind=TEST_KIND,
            title=f"Test the connection to {environment.name}",
            params={"environment_id": str(environment.pk), **({"is_new": True} if is_new else {})},
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            environment_id=environment.pk,
            subject_type="environment",
            subject_id=environment.pk,
        )


def store_connection_report(*, environment_id: uuid.UUID, report: ConnectionReport, key_token: str) -> None:
    """Keep a report, unless the key was changed while the test ran. Needs the tenant's scope."""
    values: dict[str, Any] = {
        "connection_report": report.to_json(),
        "connection_status": ConnectionStatus.OK if report.ok else ConnectionStatus.FAILED,
        "last_checked_at": clock.now(),
        "updated_at": clock.now(),
    }
    if report.ok and report.capabilities:
        values["capabilities"] = report.capabilities
    if report.version:
        values["n8n_version"] = report.version[:32]
    rows = Environment.objects.filter(pk=environment_id, api_key_encrypted=key_token)
    before = rows.first()
    if rows.update(**values) and before is not None:
        publish_reachability(before, values["connection_status"])


def set_capture_schedule(*, tenant_id: uuid.UUID, environment_id: uuid.UUID, every_seconds: int) -> Schedule | None:
    """Capture the environment every so often; 0 stops it. Not under a minute."""
    with tenant_scope(tenant_id):
        environment = _locked(environment_id)
        name = capture_schedule_name(environment)
        if every_seconds <= 0:
            Schedule.objects.filter(name=name).update(is_enabled=False, updated_at=clock.now())
            return None
        if every_seconds < SHORTEST_INTERVAL_SECONDS:
            raise EnvironmentInvalid(details={"capture_every": ["At least a minute."]})
        return operations.set_schedule(
            tenant_id=tenant_id,
            name=name,
            kind=CAPTURE_KIND,
            params={
                "environment_id": str(environment.pk),
                "snapshot_type": "scheduled",
                "description": f"Scheduled capture of {environment.name}",
            },
            every_seconds=every_seconds,
            environment_id=environment.pk,
        )


def capture_schedule_name(environment: Environment) -> str:
    """The name of the schedule that captures an environment."""
    return f"capture {environment.slug}"


def _locked(environment_id: uuid.UUID) -> Environment:
    environment = Environment.objects.select_for_update().filter(pk=environment_id).first()
    if environment is None:
        raise NotFound
    return environment


def _refuse_while_busy(environment: Environment, **which: Any) -> None:
    busy = Operation.objects.filter(holding(), **which).first()
    if busy is not None:
        raise EnvironmentInUse(
            f"“{busy.title}” is still at work on {environment.name}.", details={"operation_id": str(busy.pk)}
        )


def _clean(environment: Environment) -> None:
    if environment.kind not in EnvironmentKind.values:
        raise EnvironmentInvalid(details={"kind": [f"One of {', '.join(EnvironmentKind.values)}."]})
    try:
        environment.clean_fields(exclude=["tenant", "api_key_encrypted", "connection_report", "last_capture_error"])
    except ValidationError as error:
        raise EnvironmentInvalid(details=error.message_dict) from error
