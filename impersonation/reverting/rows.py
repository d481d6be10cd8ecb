"""Settings: rows that a session wrote itself. Put back through the services of the apps that own them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, ClassVar

from core import clock
from core.errors import OpsError
from drift import policies, scheduling
from drift.detection import TOLERATING, detect
from drift.models import DriftIncident, DriftPolicy, DriftScheduler, IncidentState
from drift.undo_reconcile import tolerate_no_more
from impersonation.models import ImpersonationSession
from operations.engine import Run
from operations.models import Schedule
from promotions import services as promotions
from promotions.models import PromotionStatus
from tenants.models import User
from workflows import credentials, identity
from workflows import services as environments
from workflows.models import CanonicalWorkflow, CredentialMapping, Environment, MapStatus, WorkflowEnvMap

from .changes import Change, changes_of, rows_now, same, shown
from .items import Fact, Item, Verdict
from .jobbase import jobs_of
from .rowbase import DERIVED, Elsewhere, Kept, Row, RowReverter, former, tenant_of


class EnvironmentSettings(RowReverter):
    """Name, kind, place and archived or not. Its key is masked in the trail, and its address goes with the key."""

    name = "environments"
    columns: ClassVar = {"name": "Name", "kind": "Kind", "position": "Place", "is_archived": "Archived"}

    def note(self, change: Change) -> str:
        touched = {*(change.before or {}), *(change.after or {})} if not change.created else set()
        if "base_url" in touched:
            was = (change.before or {}).get("base_url", "")
            return f"Its address was {was}: enter it again with its API key, which the trail does not keep."
        if "api_key_encrypted" in touched:
            return "Its API key is a secret that the trail does not keep: enter it again."
        return ""

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        tenant_id, pk = tenant_of(now), uuid.UUID(change.pk)
        was = former(change, "is_archived")
        if was and was["is_archived"] != (now or {}).get("is_archived"):
            act = environments.archive_environment if was["is_archived"] else environments.unarchive_environment
            act(tenant_id=tenant_id, environment_id=pk)
        values = former(change, "name", "kind", "position")
        if values:
            environments.update_environment(tenant_id=tenant_id, environment_id=pk, **values)

    def judge(self, change: Change, now: Row | None) -> Verdict:
        if not change.created:
            return super().judge(change, now)
        # What a session made is archived, never deleted: its history stays.
        if now is None or now.get("is_archived"):
            return Verdict.UNDONE
        return Verdict.READY if same(now, change.after, self.columns) else Verdict.CONFLICT

    def remove(self, change: Change, by: User) -> None:
        environment = Environment.objects.get(pk=change.pk)
        environments.archive_environment(tenant_id=environment.tenant_id, environment_id=environment.pk)


class WorkflowIdentity(RowReverter):
    """Which workflow a place is, and whether it counts."""

    name = "workflow_env_map"
    columns: ClassVar = {"canonical_workflow_id": "Is", "status": "State"}

    def text(self, column: str, value: Any) -> str:
        if column != "canonical_workflow_id" or not value:
            return shown(value)
        return shown(CanonicalWorkflow.objects.filter(pk=value).values_list("key", flat=True).first())

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        if change.created or change.deleted:
            return Verdict.NOTHING, "The next capture sees what is there."
        return None

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        pk, tenant_id = uuid.UUID(change.pk), tenant_of(now)
        was = former(change, "canonical_workflow_id", "status")
        status = was.get("status", (now or {}).get("status"))
        if "canonical_workflow_id" in was:
            key = CanonicalWorkflow.objects.get(pk=was["canonical_workflow_id"]).key
            identity.link(tenant_id=tenant_id, map_id=pk, key=key)
        if status == MapStatus.IGNORED:
            identity.ignore(tenant_id=tenant_id, map_id=pk)
        else:
            WorkflowEnvMap.objects.filter(pk=pk).update(status=status, updated_at=clock.now())


class CredentialStandIn(RowReverter):
    """Which credential stands in for which."""

    name = "credential_mappings"
    columns: ClassVar = {
        "target_name": "Stand-in",
        "target_credential_id": "Its id",
        "source_credential_id": "Stands in for",
    }

    def called(self, change: Change, now: Row | None) -> str:
        row = {**(change.before or {}), **(change.after or {}), **(now or {})}
        return str(row.get("source_name") or change.pk[:8])

    def twin(self, change: Change) -> Row | None:
        was = change.before or {}
        known_by = "source_credential_id" if was.get("source_credential_id") else "source_name"
        names = ("source_environment_id", "target_environment_id", "credential_type", known_by)
        found = CredentialMapping.objects.filter(**{name: was.get(name) for name in names}).first()
        return rows_now(self.name, [str(found.pk)]).get(str(found.pk)) if found else None

    def items(self, changes: list[Change], slug: str) -> list[Item]:
        """A stand-in that the session deleted and made anew in its place is as the session left it."""
        made = {change.pk for change in changes if change.created}
        found = []
        for change in changes:
            item = self.item(change, slug)
            twin = self.twin(change) if change.deleted and item.verdict == Verdict.CONFLICT else None
            if twin is not None and twin["id"] in made:
                item = self._ready(item)
            found.append(item)
        return found

    def _ready(self, item: Item) -> Item:
        return replace(item, verdict=Verdict.READY, why="Together with the one that the session made in its place.")

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        self._save({**(now or {}), **former(change, *self.columns)}, by)

    def remake(self, change: Change, by: User) -> None:
        if change.before is None or not change.deleted:
            raise OpsError("It was deleted since.", recovery="Make it again on the page of credentials.")
        self._save(change.before, by)

    def _save(self, row: Row, by: User) -> None:
        wanted = ("credential_type", "source_name", "source_credential_id", "target_name", "target_credential_id")
        credentials.save_mapping(
            tenant_id=tenant_of(row),
            source_environment_id=uuid.UUID(row["source_environment_id"]),
            target_environment_id=uuid.UUID(row["target_environment_id"]),
            pair=credentials.CredentialPair(**{name: row[name] for name in wanted}),
            by=by,
        )

    def remove(self, change: Change, by: User) -> None:
        credentials.delete_mapping(tenant_id=tenant_of(change.after), mapping_id=uuid.UUID(change.pk))


class DriftRules(RowReverter):
    """How long drift may stand, and whether it stops promotions."""

    name = "drift_policies"
    kind = "drift policy"
    columns: ClassVar = {
        "enforce_ttl": "Time is enforced",
        "block_on_active_drift": "Drift blocks promotions",
        "ttl_hours_critical": "Hours, critical",
        "ttl_hours_high": "Hours, high",
        "ttl_hours_medium": "Hours, medium",
        "ttl_hours_low": "Hours, low",
    }

    def called(self, change: Change, now: Row | None) -> str:
        return "Rules about drift"

    def defaults(self) -> Row:
        fresh = DriftPolicy()
        return {column: getattr(fresh, column) for column in self.columns}

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        row = {**(now or {}), **{c: (self.before(change) or {})[c] for c in self.concerned(change)}}
        policies.save_policy(
            tenant_id=tenant_of(now),
            enforce_ttl=row["enforce_ttl"],
            block_on_active_drift=row["block_on_active_drift"],
            hours={level: row[field] for level, field in policies.TTL_FIELDS.items()},
        )


class DriftChecks(RowReverter):
    """Whether and how often the environments are checked."""

    name = "drift_schedulers"
    kind = "schedule of drift checks"
    columns: ClassVar = {"is_running": "Checks run", "every_seconds": "Every (seconds)"}

    def called(self, change: Change, now: Row | None) -> str:
        return "Checks for drift"

    def defaults(self) -> Row:
        fresh = DriftScheduler()
        return {column: getattr(fresh, column) for column in self.columns}

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        row = {**(now or {}), **{c: (self.before(change) or {})[c] for c in self.concerned(change)}}
        scheduling.set_scheduler(
            tenant_id=tenant_of(now), is_running=row["is_running"], every_seconds=row["every_seconds"], by=by
        )


class RecurringWork(RowReverter):
    """Schedules; those of the drift checks follow the tenant's switch."""

    name = "schedules"
    kind = "schedule"
    columns: ClassVar = {"is_enabled": "Runs", "every_seconds": "Every (seconds)"}

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        kind = (now or change.after or change.before or {}).get("kind")
        if kind == scheduling.KIND or now is None:
            return Verdict.NOTHING, DERIVED
        return None

    def defaults(self) -> Row:
        return {"is_enabled": False}

    def concerned(self, change: Change) -> list[str]:
        return ["is_enabled"] if change.created else super().concerned(change)

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        was = {column: (self.before(change) or {})[column] for column in self.concerned(change)}
        Schedule.objects.filter(pk=change.pk).update(**was, updated_at=clock.now())


class PromotionDrafts(RowReverter):
    """Drafts are withdrawn. One that the session executed is undone as that job (``jobs``)."""

    name = "promotions"
    columns: ClassVar = {"status": "State"}

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        if not change.created and "status" not in (change.before or {}):
            return Verdict.NOTHING, "Its plan was made anew."
        if not change.created:
            return Verdict.IMPOSSIBLE, "Make it again, or withdraw it on its page."
        return None

    def judge(self, change: Change, now: Row | None) -> Verdict:
        if now is None or now["status"] in (PromotionStatus.CANCELLED, PromotionStatus.REJECTED):
            return Verdict.UNDONE
        return Verdict.READY if now["status"] in promotions.PLANNABLE else Verdict.CONFLICT

    def remove(self, change: Change, by: User) -> None:
        tenant_id = tenant_of(change.after)
        promotions.cancel(tenant_id=tenant_id, promotion_id=uuid.UUID(change.pk), by=by)


class Incidents(RowReverter):
    """Acknowledging changes nothing outside. What was accepted is reported again; a closed incident stays closed."""

    name = "drift_incidents"

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        if (change.after or {}).get("incident_state") != IncidentState.CLOSED:
            return Verdict.NOTHING, "That somebody looks into it changes nothing."
        if (change.after or {}).get("resolution_type") not in TOLERATING:
            return Verdict.NOTHING, "Closing it hides nothing: the next check reports what still drifts."
        return None

    def concerned(self, change: Change) -> list[str]:
        return ["tolerates"]

    def facts(self, change: Change, now: Row | None) -> tuple[Fact, ...]:
        return (Fact("This drift is reported", "yes", "no", "no" if (now or {}).get("tolerates") else "yes"),)

    def note(self, change: Change) -> str:
        return "It stays closed; if the workflow still drifts like this, a new incident is opened."

    def read(self, change: Change, *, lock: bool = False) -> Row | None:
        rows = DriftIncident.objects.select_for_update() if lock else DriftIncident.objects.all()
        incident = rows.filter(pk=change.pk).first()
        return {"tolerates": incident.drift_snapshot.get("tolerates")} if incident else None

    def judge(self, change: Change, now: Row | None) -> Verdict:
        return Verdict.READY if (now or {}).get("tolerates") else Verdict.UNDONE

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        tolerate_no_more(uuid.UUID(change.pk))

    def undo(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        result = super().undo(run, item, force=force)
        with run.fenced():
            place = WorkflowEnvMap.objects.select_related("environment").get(drift_incidents=item.target["pk"])
        detect(run, environment=place.environment)
        return result


_MEMBERS = "Set it again on the page of members; the trail's entry says what it was."
ROWS: dict[str, RowReverter] = {
    reverter.name: reverter
    for reverter in (
        EnvironmentSettings(),
        WorkflowIdentity(),
        CredentialStandIn(),
        DriftRules(),
        DriftChecks(),
        RecurringWork(),
        PromotionDrafts(),
        Kept("snapshots", "A snapshot is a record of how it was; it changes nothing."),
        Kept("canonical_workflows", "A key stays reserved: Git's history knows it."),
        Kept("known_credentials", "A note of what was seen; it changes nothing."),
        Kept("environment_surroundings", "A note of what was seen; it changes nothing."),
        Incidents(),
        *(Elsewhere(table, _MEMBERS) for table in ("users", "memberships", "tenant_grants", "environment_grants")),
        Elsewhere("api_tokens", "Revoke the token on its page."),
    )
}
UNKNOWN = "The console does not undo this by itself: the trail's entry says what it was."


def row_items(session: ImpersonationSession, slug: str) -> tuple[list[Item], bool]:
    """Every row that the session wrote itself, and whether there were too many. Needs the tenant's scope."""
    changes, too_many = changes_of(session)
    executed = {str(job.subject_id) for job in jobs_of(session) if job.kind == promotions.EXECUTE}
    changes = [c for c in changes if not (c.table == PromotionDrafts.name and c.pk in executed)]
    tables: dict[str, list[Change]] = {}
    for change in changes:
        tables.setdefault(change.table, []).append(change)
    found: list[Item] = []
    for table, group in tables.items():
        found += (ROWS.get(table) or Elsewhere(table, UNKNOWN)).items(group, slug)
    return found, too_many
