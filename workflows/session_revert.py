"""How what a support session wrote here is reverted: environments, workflow mappings, credential mappings."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, ClassVar

from core import clock
from core.errors import OpsError
from impersonation.reverting.changes import Change, same, shown
from impersonation.reverting.items import Item, Verdict
from impersonation.reverting.jobbase import FixedVerdict, Hash
from impersonation.reverting.rowbase import NothingToRevert, NotRevertible, Row, RowReverter, tenant_of, values_before
from operations.models import OperationStep, StepState
from tenants.models import User

from . import credentials, identity
from . import services as environments
from .models import CanonicalWorkflow, CredentialMapping, Environment, MapStatus, WorkflowEnvMap
from .writes import Written


class Environments(RowReverter):
    """Name, kind, position and archived or not. Its key is masked in the trail, and its address goes with the key."""

    name = "environments"
    large_columns = ("connection_report",)
    columns: ClassVar = {"name": "Name", "kind": "Kind", "position": "Place", "is_archived": "Archived"}

    def note(self, change: Change) -> str:
        touched = {*(change.before or {}), *(change.after or {})} if not change.created else set()
        if "base_url" in touched:
            was = (change.before or {}).get("base_url", "")
            return f"Its address was {was}: enter it again with its API key, which the trail does not keep."
        if "api_key_encrypted" in touched:
            return "Its API key is a secret that the trail does not keep: enter it again."
        return ""

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        tenant_id, pk = tenant_of(now), uuid.UUID(change.pk)
        was = values_before(change, "is_archived")
        if was and was["is_archived"] != (now or {}).get("is_archived"):
            act = environments.archive_environment if was["is_archived"] else environments.unarchive_environment
            act(tenant_id=tenant_id, environment_id=pk)
        values = values_before(change, "name", "kind", "position")
        if values:
            environments.update_environment(tenant_id=tenant_id, environment_id=pk, **values)

    def judge(self, change: Change, now: Row | None) -> Verdict:
        if not change.created:
            return super().judge(change, now)
        # What a session created is archived, never deleted: its history stays.
        if now is None or now.get("is_archived"):
            return Verdict.UNDONE
        return Verdict.READY if same(now, change.after, self.columns) else Verdict.CONFLICT

    def remove_created(self, change: Change, by: User) -> None:
        environment = Environment.objects.get(pk=change.pk)
        environments.archive_environment(tenant_id=environment.tenant_id, environment_id=environment.pk)


class WorkflowMappings(RowReverter):
    """Which workflow it is that an environment holds, and whether it counts."""

    name = "workflow_env_map"
    large_columns = ("fingerprint", "git_fingerprint")
    columns: ClassVar = {"canonical_workflow_id": "Is", "status": "State"}

    def text(self, column: str, value: Any) -> str:
        if column != "canonical_workflow_id" or not value:
            return shown(value)
        return shown(CanonicalWorkflow.objects.filter(pk=value).values_list("key", flat=True).first())

    def fixed_verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        if change.created or change.deleted:
            return Verdict.NOTHING, "The next capture sees what is there."
        return None

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        pk, tenant_id = uuid.UUID(change.pk), tenant_of(now)
        was = values_before(change, "canonical_workflow_id", "status")
        status = was.get("status", (now or {}).get("status"))
        if "canonical_workflow_id" in was:
            key = CanonicalWorkflow.objects.get(pk=was["canonical_workflow_id"]).key
            identity.link(tenant_id=tenant_id, map_id=pk, key=key)
        if status == MapStatus.IGNORED:
            identity.ignore(tenant_id=tenant_id, map_id=pk)
        else:
            WorkflowEnvMap.objects.filter(pk=pk).update(status=status, updated_at=clock.now())


class CredentialMappings(RowReverter):
    """Which credential stands in for which."""

    name = "credential_mappings"
    columns: ClassVar = {
        "target_name": "Stand-in",
        "target_credential_id": "Its id",
        "source_credential_id": "Stands in for",
    }

    def label(self, change: Change, now: Row | None) -> str:
        row = {**(change.before or {}), **(change.after or {}), **(now or {})}
        return str(row.get("source_name") or change.pk[:8])

    def replacement(self, change: Change) -> Row | None:
        was = change.before or {}
        known_by = "source_credential_id" if was.get("source_credential_id") else "source_name"
        names = ("source_environment_id", "target_environment_id", "credential_type", known_by)
        found = CredentialMapping.objects.filter(**{name: was.get(name) for name in names}).first()
        return self.rows([str(found.pk)]).get(str(found.pk)) if found else None

    def items(self, changes: list[Change], slug: str) -> list[Item]:
        """A mapping that the session deleted and created again is as the session left it."""
        made = {change.pk for change in changes if change.created}
        found = []
        for change in changes:
            item = self.item(change, slug)
            replacement = self.replacement(change) if change.deleted and item.verdict == Verdict.CONFLICT else None
            if replacement is not None and replacement["id"] in made:
                item = self._ready(item)
            found.append(item)
        return found

    def _ready(self, item: Item) -> Item:
        return replace(item, verdict=Verdict.READY, why="Together with the one that the session made in its place.")

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        self._save({**(now or {}), **values_before(change, *self.columns)}, by)

    def recreate_deleted(self, change: Change, by: User) -> None:
        if change.before is None or not change.deleted:
            raise OpsError("It was deleted since.", recovery="Make it again on the page of credentials.")
        self._save(change.before, by)

    def _save(self, row: Row, by: User) -> None:
        wanted = ("credential_type", "source_name", "source_credential_id", "target_name", "target_credential_id")
        credentials.save_mapping(
            tenant_id=tenant_of(row),
            source_environment_id=uuid.UUID(row["source_environment_id"]),
            target_environment_id=uuid.UUID(row["target_environment_id"]),
            by=by,
            pair=credentials.CredentialPair(**{name: row[name] for name in wanted}),
        )

    def remove_created(self, change: Change, by: User) -> None:
        credentials.delete_mapping(tenant_id=tenant_of(change.after), mapping_id=uuid.UUID(change.pk))


ROW_REVERTERS: tuple[RowReverter, ...] = (
    Environments(),
    WorkflowMappings(),
    CredentialMappings(),
    NothingToRevert("canonical_workflows", "A key stays reserved: Git's history knows it."),
    NotRevertible("environment_grants", "Set it again on the page of members; the trail's entry says what it was."),
)
CONNECTION_TEST = FixedVerdict("environments.test", "connection test", Verdict.NOTHING, "It only reads.")


def seen_now(environment_id: uuid.UUID | None, keys: list[str]) -> dict[str, tuple[Hash, bool | None]]:
    """Content hash and active of workflows as last seen."""
    gone = (MapStatus.MISSING, MapStatus.DELETED)
    if environment_id is None:
        return {}
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id, canonical_workflow__key__in=keys)
    return {
        key: (None if status in gone else value, active)
        for key, value, active, status in rows.values_list(
            "canonical_workflow__key", "env_content_hash", "env_active", "status"
        )
    }


def written_by(job_id: uuid.UUID, prefix: str) -> dict[str, Written]:
    """What a job wrote, by key, from its steps. Needs the tenant's scope."""
    rows = OperationStep.objects.filter(
        operation_id=job_id, name__startswith=f"{prefix}:write:", state=StepState.DONE
    ).values_list("result", flat=True)
    found = (Written.read(row) for row in rows if isinstance(row, dict) and row.get("outcome"))
    return {w.key: w for w in found if w.outcome in ("created", "updated", "deleted")}
