"""Rows of snapshots made again from Git, and rows that a person has made by hand completed."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec

from core.errors import OpsError
from tenants.models import User
from tenants.scope import platform_scope, tenant_scope
from workflows.models import Environment

from . import repository
from .contents import commit_of, manifest_of
from .manifest import Manifest, VerificationReport, parse_manifest
from .models import Snapshot

NAMED_AT_ONCE = 50


def name_commits() -> int:
    """Complete rows that were made by hand and name no commit, from their manifests in Git; how many. For the beat."""
    with platform_scope():
        unnamed = Snapshot.objects.filter(git_commit_sha=None).select_related("environment").defer("workflows")
        bare = list(unnamed.order_by("-created_at")[:NAMED_AT_ONCE])
    named = 0
    for row in bare:
        commit = commit_of(row)
        if commit is not None:
            values = {"git_commit_sha": commit, **_not_said_by_hand(row)}
            with tenant_scope(row.tenant_id):
                named += Snapshot.objects.filter(pk=row.pk, git_commit_sha=None).update(**values)
    return named


def _not_said_by_hand(row: Snapshot) -> dict[str, Any]:
    """The columns that the runbook's INSERT leaves out, as the manifest in Git has them."""
    try:
        manifest = manifest_of(row)
    except OpsError:
        return {}
    values = row_values(row.environment, manifest, "")
    left_out = ("description", "total_bytes", "operation_id", "hash_version", "verification")
    return {name: values[name] for name in left_out if getattr(row, name) in (None, "", 0, 1)}


def recover(*, tenant_id: uuid.UUID, environment_id: uuid.UUID | None = None) -> list[uuid.UUID]:
    """Make the rows again of snapshots whose manifests are in Git and whose rows are gone; their ids."""
    store = repository.store_for(tenant_id)
    with tenant_scope(tenant_id):
        environments = {e.pk: e for e in Environment.objects.all() if environment_id in (None, e.pk)}
        present = set(Snapshot.objects.values_list("pk", flat=True))
    made: list[uuid.UUID] = []
    for ref in store.manifests(environment_id or ""):
        try:
            environment, snapshot_id = environments.get(uuid.UUID(ref.environment_id)), uuid.UUID(ref.snapshot_id)
        except ValueError:
            continue
        if environment is None or snapshot_id in present:
            continue
        manifest = parse_manifest(store.read(ref.commit, ref.path))
        made += _recover_row(environment, snapshot_id, manifest, ref.commit)
        present.add(snapshot_id)
    return made


def _recover_row(environment: Environment, snapshot_id: uuid.UUID, manifest: Manifest, commit: str) -> list[uuid.UUID]:
    with tenant_scope(environment.tenant_id):
        values = row_values(environment, manifest, commit)
        if values["created_by_id"] and not User.objects.filter(pk=values["created_by_id"]).exists():
            values["created_by_id"] = None
        _, created = Snapshot.objects.get_or_create(pk=snapshot_id, defaults=values)
        latest = Snapshot.objects.filter(environment=environment).order_by("-created_at").first()
        if latest is not None:
            Environment.objects.filter(pk=environment.pk).update(
                last_snapshot_id=latest.pk, last_captured_at=latest.created_at
            )
    return [snapshot_id] if created else []


def row_values(environment: Environment, manifest: Manifest, commit: str) -> dict[str, Any]:
    """The columns of a snapshot's row as its manifest gives them."""
    return {
        "tenant_id": environment.tenant_id,
        "environment_id": environment.pk,
        "snapshot_type": manifest.snapshot_type,
        "description": manifest.description[:500],
        "workflows": [entry.to_json() for entry in manifest.workflows],
        "workflow_count": len(manifest.workflows),
        "total_bytes": manifest.total_bytes,
        "git_commit_sha": commit,
        "operation_id": manifest.operation_id,
        "created_by_id": manifest.created_by,
        "created_at": datetime.fromisoformat(manifest.created_at),
        "hash_version": manifest.normalization_version,
        "verification": msgspec.to_builtins(VerificationReport(findings=manifest.findings)),
    }
