"""Acts of the demo's people: each through the real services, long work carried through in this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F

from core import context
from core.demo import as_person
from drift import policies
from drift import services as drift
from drift.models import ACTIVE, DriftIncident
from operations.demo import DemoFailedError, carry
from operations.models import Operation
from promotions import services as promotions
from promotions.models import Promotion
from snapshots import services as snapshots
from snapshots.planning import RestoreOptions
from snapshots.restore import start_restore
from tenants.models import Tenant, User
from tenants.scope import tenant_scope
from workflows import credentials, services
from workflows.gateway import environment_by_id
from workflows.models import CanonicalWorkflow, Environment

from .catalogue import NAMES
from .sites import Site


class Doer:
    """One person at work in one tenant."""

    def __init__(self, tenant: Tenant, user: User) -> None:
        self.tenant, self.user = tenant, user

    def add_environment(self, name: str, kind: str, site: Site, *, slug: str = "") -> Environment:
        with as_person(self.user):
            made = services.create_environment(
                tenant_id=self.tenant.pk, name=name, kind=kind, base_url=site.base_url, api_key=site.api_key, slug=slug
            )
        self.test_connection(made)
        return environment_by_id(self.tenant.pk, made.pk)

    def test_connection(self, environment: Environment) -> None:
        with as_person(self.user):
            operation = services.start_test_connection(
                tenant_id=self.tenant.pk, environment_id=environment.pk, requested_by=self.user
            )
        carry(operation)

    def capture(
        self, environment: Environment, kind: str = "manual_backup", description: str = "", *, ends: str = "COMPLETED"
    ) -> Operation:
        with as_person(self.user):
            operation = snapshots.start_capture(
                tenant_id=self.tenant.pk,
                environment_id=environment.pk,
                snapshot_type=kind,
                description=description,
                requested_by=self.user,
            )
        return carry(operation, ends=ends)

    def approve_all(self, environment: Environment, message: str) -> None:
        """Take what was last captured as approved."""
        fresh = environment_by_id(self.tenant.pk, environment.pk)
        assert fresh.last_snapshot_id is not None  # noqa: S101 -- it was captured a moment ago
        snapshot = snapshots.snapshot_by_id(self.tenant.pk, fresh.last_snapshot_id)
        with as_person(self.user):
            snapshots.set_baseline(None, environment=fresh, snapshot=snapshot, message=message)
            drift.detect_from_snapshot(None, environment=fresh, snapshot=snapshot)

    def pair_credentials(self, source: Environment, target: Environment) -> None:
        with as_person(self.user):
            credentials.accept_suggestions(
                tenant_id=self.tenant.pk,
                source_environment_id=source.pk,
                target_environment_id=target.pk,
                by=self.user,
            )

    def plan(
        self,
        name: str,
        source: Environment,
        target: Environment,
        flows: Sequence[str],
        *,
        description: str = "",
        submit: bool = True,
        options: dict[str, Any] | None = None,
    ) -> Promotion:
        """A promotion of flows by their names in the catalogue."""
        with as_person(self.user):
            promotion = promotions.create(
                tenant_id=self.tenant.pk,
                request=promotions.PromotionRequest(
                    source_id=source.pk,
                    target_id=target.pk,
                    keys=self.keys_of(flows),
                    name=name,
                    description=description,
                    options=options,
                ),
                by=self.user,
            )
            if submit:
                promotions.submit(tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.user)
        return promotion

    def approve(self, promotion: Promotion, comment: str) -> None:
        with as_person(self.user):
            promotions.approve(tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.user, comment=comment)

    def execute(self, promotion: Promotion, *, ends: str = "COMPLETED") -> None:
        with as_person(self.user):
            operation = promotions.execute(tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.user)
        carry(operation, ends=ends)

    def roll_back(self, promotion: Promotion, reason: str) -> None:
        with as_person(self.user):
            operation = promotions.rollback(
                tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.user, reason=reason
            )
        carry(operation)

    def check(self, environment: Environment) -> None:
        with as_person(self.user):
            operation = drift.start_check(
                tenant_id=self.tenant.pk, environment_id=environment.pk, requested_by=self.user
            )
        carry(operation)

    def incidents(self, environment: Environment, flows: Sequence[str] | None = None) -> list[DriftIncident]:
        """Standing incidents, of these flows if given."""
        with tenant_scope(self.tenant.pk):
            rows = DriftIncident.objects.filter(
                workflow_env_map__environment=environment, incident_state__in=ACTIVE
            ).order_by("created_at", "pk")
            if flows is not None:
                rows = rows.filter(workflow_env_map__canonical_workflow__key__in=self.keys_of(flows))
            return list(rows)

    def stabilize(self, environment: Environment, flows: Sequence[str], comment: str) -> None:
        with as_person(self.user):
            started = drift.stabilize(
                tenant_id=self.tenant.pk,
                incident_ids=[row.pk for row in self.incidents(environment, flows)],
                comment=comment,
                requested_by=self.user,
            )
        for operation in started:
            carry(operation)

    def reconcile(self, environment: Environment, flows: Sequence[str], comment: str) -> None:
        with as_person(self.user):
            started = drift.reconcile(
                tenant_id=self.tenant.pk,
                incident_ids=[row.pk for row in self.incidents(environment, flows)],
                comment=comment,
                requested_by=self.user,
            )
        for operation in started:
            carry(operation)

    def acknowledge(self, environment: Environment, flows: Sequence[str], comment: str) -> None:
        with as_person(self.user):
            drift.acknowledge(
                tenant_id=self.tenant.pk,
                incident_ids=[row.pk for row in self.incidents(environment, flows)],
                comment=comment,
                by=self.user,
            )

    def close(self, environment: Environment, flow: str, resolution: str, comment: str) -> None:
        incident = self.incidents(environment, [flow])[0]
        with as_person(self.user):
            drift.close(
                tenant_id=self.tenant.pk,
                incident_id=incident.pk,
                comment=comment,
                resolution_type=resolution,
                by=self.user,
            )

    def let_deadline_pass(self, environment: Environment, flow: str) -> None:
        """Drift that has stood for an hour and a half longer than the tenant's policy allows."""
        policy = policies.policy_of(self.tenant.pk)
        allowed = max(policies.hours_for(policy, row.severity) for row in self.incidents(environment, [flow]))
        self.date_back(environment, flow, hours=allowed + 1.5)

    def date_back(self, environment: Environment, flow: str, *, hours: float) -> None:
        """Have standing drift be older than it is."""
        found, by = [row.pk for row in self.incidents(environment, [flow])], timedelta(hours=hours)
        moved = {name: F(name) - by for name in ("created_at", "updated_at", "ttl_expires_at")}
        with context.acting(actor_id=None, source="system"), tenant_scope(self.tenant.pk):
            DriftIncident.objects.filter(pk__in=found).update(**moved)

    def restore(self, environment: Environment, snapshot_id: Any, flows: Sequence[str]) -> None:
        with as_person(self.user):
            operation = start_restore(
                tenant_id=self.tenant.pk,
                environment_id=environment.pk,
                snapshot_id=snapshot_id,
                requested_by=self.user,
                options=RestoreOptions(keys=frozenset(self.keys_of(flows))),
            )
        carry(operation)

    def keys_of(self, flows: Sequence[str]) -> list[str]:
        """The console's keys of flows: they come from the names that were captured."""
        with tenant_scope(self.tenant.pk):
            rows = dict(CanonicalWorkflow.objects.filter(name__in=[NAMES[f] for f in flows]).values_list("name", "key"))
        missing = [f for f in flows if NAMES[f] not in rows]
        if missing:
            raise DemoFailedError(f"Not captured: {', '.join(missing)}")
        return [rows[NAMES[f]] for f in flows]
