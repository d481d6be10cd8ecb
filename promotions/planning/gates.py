"""What must hold before a promotion may run, each with its state and why."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from core import clock
from core.errors import OpsError
from operations.models import OPEN, Operation
from promotions.errors import (
    ApprovalNeeded,
    Dangling,
    DriftBlocks,
    NothingToPromote,
    PlanStale,
    ScopesLacking,
    SecretsLacking,
    TargetHeld,
    TargetLocked,
)
from promotions.models import Promotion, PromotionStatus
from promotions.running import attention
from tenants.scope import tenant_scope
from workflows.models import CredentialMapping, Environment, KnownCredential, MapStatus, WorkflowEnvMap
from workflows.normalization import NORMALIZATION_VERSION

from . import snapshot_contents
from .building import plan_hash
from .options import Options, SourceVersion

OLD_CAPTURE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Gate:
    """``state`` is open, unknown, blocked, waiting or warn; ``error`` is what would be raised.

    *unknown* lets a promotion pass like *open* does, but nobody has looked, or could.
    """

    name: str
    title: str
    state: str
    why: str
    details: list[dict[str, Any]] = field(default_factory=list)
    error: OpsError | None = None

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "title": self.title, "state": self.state, "why": self.why}
        return found | ({"details": self.details} if self.details else {})


def needs_approval(promotion: Promotion, target: Environment) -> bool:
    """Production always; elsewhere when the promotion asks for it."""
    return target.is_production or bool(promotion.options.get("require_approval"))


def references_gate(plan: Mapping[str, Any]) -> Gate:
    """No credential and no sub-workflow may dangle."""
    title = "References"
    if plan["unknown_keys"] or plan["missing_contents"]:
        lost = [*plan["unknown_keys"], *plan["missing_contents"]]
        error: OpsError = PlanStale(f"Not in the source any more: {', '.join(lost[:5])}.", details={"keys": lost})
        return Gate("references", title, "blocked", error.message, error=error)
    if plan["dangling"]:
        first = plan["dangling"][0]
        more = len(plan["dangling"]) - 1
        message = first["message"] + (f" {more} more like it." if more else "")
        error = Dangling(message, details={"dangling": plan["dangling"], "proposed": plan["proposed"]})
        return Gate("references", title, "blocked", message, plan["dangling"], error)
    if plan["counts"]["create"] + plan["counts"]["update"] == 0:
        error = NothingToPromote()
        return Gate("references", title, "blocked", error.message, error=error)
    used = sum(len(i["credentials"]) + len(i["workflows"]) for i in plan["items"])
    if not all(plan.get("reached", {}).values()):
        unasked = " and ".join(plan[side]["name"] for side, reached in plan["reached"].items() if not reached)
        why = f"{unasked} could not be asked what it has; the plan goes by what was seen last. Plan again to ask anew."
        return Gate("references", title, "warn", why)
    return Gate("references", title, "open", "Every reference is mapped." if used else "None.")


def scopes_gate(plan: Mapping[str, Any]) -> Gate:
    """The target's API key may do all that the plan does, as far as the instance tells."""
    title, found = "API key", plan.get("scopes") or {"known": False, "missing": []}
    if found["missing"]:
        first = found["missing"][0]
        names = ", ".join(m["scope"] for m in found["missing"])
        error = ScopesLacking(f"The API key of the target lacks {names}. {first['effect']}", details=found)
        return Gate("scopes", title, "blocked", error.message, found["missing"], error)
    if not found["known"]:
        return Gate("scopes", title, "unknown", "This n8n does not tell what its key may do.")
    return Gate("scopes", title, "open", "The key may do all that this promotion needs.")


def drift_gate(promotion: Promotion, target: Environment) -> Gate:
    """No drift that the tenant's policy counts as blocking for the workflows of the plan."""
    keys = [item["key"] for item in (promotion.plan or EMPTY_PLAN)["items"]]
    found = snapshot_contents.blocking_incidents(tenant_id=promotion.tenant_id, environment_id=target.pk, keys=keys)
    if not found:
        return Gate("drift", "Drift", "open", f"Nothing in {target.name} blocks.")
    names = ", ".join(str(i.get("workflow_name") or i.get("workflow_key") or i.get("id")) for i in found[:3])
    message = f"{len(found)} drift incidents in {target.name} block promotions: {names}."
    error = DriftBlocks(message, details={"blocking_drift_incidents": found})
    return Gate("drift", "Drift", "blocked", message, found, error)


def lock_gate(tenant_id: uuid.UUID, target: Environment, *, own: uuid.UUID | None = None) -> Gate:
    """Nobody else writes to the target."""
    with tenant_scope(tenant_id):
        holders = Operation.objects.filter(exclusive_key=target.write_lock, status__in=[str(s) for s in OPEN])
        holder = (holders.exclude(pk=own) if own is not None else holders).first()
    if holder is None:
        return Gate("lock", "Lock", "open", f"Nobody else writes to {target.name}.")
    message = f"“{holder.title}” holds {target.name}."
    details = {"operation_id": str(holder.pk), "kind": holder.kind, "status": holder.status}
    return Gate("lock", "Lock", "blocked", message, [details], TargetLocked(message, details=details))


def target_gate(promotion: Promotion, target: Environment) -> Gate:
    """No other promotion has left the target half-way."""
    with tenant_scope(promotion.tenant_id):
        holder = attention.holder_of(target.pk, own=promotion.pk)
    if holder is None:
        return Gate("target", "Target", "open", f"No promotion has left {target.name} half-way.")
    message = f"“{holder.name}” left {target.name} neither wholly new nor proven to be as before."
    details = {"promotion_id": str(holder.pk), "name": holder.name}
    return Gate("target", "Target", "blocked", message, [details], TargetHeld(message, details=details))


def credentials_gate(promotion: Promotion, target: Environment) -> Gate:
    """The credentials that are pointed at hold their secrets, as far as anybody has looked."""
    title = "Credentials"
    items = (promotion.plan or EMPTY_PLAN)["items"]
    used = {c["target_id"] for i in items for c in i["credentials"] if c["target_id"] and c.get("in_use", True)}
    if not used:
        return Gate("credentials", title, "open", "None is needed.")
    with tenant_scope(promotion.tenant_id):
        rows = list(KnownCredential.objects.filter(environment_id=target.pk, credential_id__in=used))
    empty = [row for row in rows if row.needs_secret and row.test_state != "proven"]
    facts = [
        {
            "id": row.credential_id,
            "name": row.name,
            "type": row.credential_type,
            "state": "needs_secret" if row in empty else row.test_state or "not_tested",
            "message": row.test_message,
        }
        for row in rows
    ]
    if empty:
        names = ", ".join(f"“{row.name}”" for row in empty[:5])
        error = SecretsLacking(
            f"Made as a stub, without its secret: {names}. Enter it in n8n of {target.name}.",
            details={"credentials": facts},
        )
        return Gate("credentials", title, "blocked", error.message, facts, error)
    failing = [row for row in rows if row.test_state == "failing"]
    if failing:
        text = f"n8n's own test of “{failing[0].name}” fails: {failing[0].test_message}"
        return Gate("credentials", title, "warn", text, facts)
    states = Counter(fact["state"] for fact in facts)
    words = {"proven": "proven by n8n's test", "untestable": "not testable", "not_tested": "not tested"}
    told = ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])
    state = "open" if facts and states["proven"] == len(used) else "unknown"
    return Gate("credentials", title, state, f"{told}." if told else "Entered by hand.", facts)


def freshness_gate(promotion: Promotion, source: Environment, target: Environment) -> Gate:
    """Both sides as the plan saw them, by hash of every workflow in it; credentials mapped, and the plan, as frozen."""
    plan = promotion.plan or {}
    if promotion.plan_hash and plan_hash(plan) != promotion.plan_hash:
        error = PlanStale("The plan is not the one that was frozen.")
        return Gate("freshness", "Plan", "blocked", error.message, error=error)
    if int(plan.get("normalization_version") or 1) != NORMALIZATION_VERSION:
        error = PlanStale(
            "The plan was made under an older way of comparing workflows; its hashes say nothing any more.",
            details={"planned": plan.get("normalization_version") or 1, "now": NORMALIZATION_VERSION},
        )
        return Gate("freshness", "Plan", "blocked", error.message, error=error)
    changed = changed_since(promotion, plan)
    if changed:
        names = ", ".join(f"“{c['name']}” in the {c['side']}" for c in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        error = PlanStale(f"Changed since the plan was made: {names}{more}.", details={"changed": changed})
        return Gate("freshness", "Plan", "blocked", error.message, changed, error)
    remapped = remapped_since(promotion, plan)
    if remapped:
        names = ", ".join(f"“{c['name']}”" for c in remapped[:3])
        error = PlanStale(f"Mapped otherwise since the plan was made: {names}.", details={"credentials": remapped})
        return Gate("freshness", "Plan", "blocked", error.message, remapped, error)
    captured = source.last_captured_at
    if captured is not None and clock.now() - captured > OLD_CAPTURE:
        hours = int((clock.now() - captured).total_seconds() // 3600)
        return Gate(
            "freshness", "Plan", "warn", f"{source.name} was captured {hours} hours ago; it may have changed since."
        )
    if source.last_capture_error:
        return Gate(
            "freshness", "Plan", "warn", f"The last capture of {source.name} failed: this is an older view of it."
        )
    return Gate("freshness", "Plan", "open", "Both environments are as the plan saw them.")


def changed_since(promotion: Promotion, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Workflows of the plan that were seen otherwise since, on either side."""
    items = plan.get("items", [])
    keys = [item["key"] for item in items]
    present = [MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.IGNORED]
    with tenant_scope(promotion.tenant_id):
        rows = WorkflowEnvMap.objects.filter(
            environment_id__in=[promotion.source_environment_id, promotion.target_environment_id],
            canonical_workflow__key__in=keys,
            status__in=[str(s) for s in present],
        ).values_list("environment_id", "canonical_workflow__key", "env_content_hash", "env_draft_hash", "env_active")
        seen, drafts, active = {}, {}, {}
        for environment_id, key, found, draft, is_active in rows:
            seen[environment_id, key], drafts[environment_id, key] = found, draft
            active[environment_id, key] = is_active
    changed = []
    for item in items:
        sides = (
            ("source", promotion.source_environment_id, item["source"]["content_hash"]),
            ("target", promotion.target_environment_id, item["expected_hash"]),
        )
        for side, environment_id, expected in sides:
            place = (environment_id, item["key"])
            found, now = seen.get(place), active.get(place)
            if side == "source" and item["source"].get("version") == SourceVersion.DRAFT:
                found = drafts.get(place) or found
            edited = side == "target" and found and drafts.get(place) != item.get("expected_draft_hash")
            if found != expected or edited or (side == "target" and found and switched_since(item, bool(now))):
                row = {"key": item["key"], "name": item["name"], "side": side, "expected": expected, "found": found}
                changed.append(row)
    return changed


def remapped_since(promotion: Promotion, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Credentials of the plan for which somebody has entered, changed or taken away a mapping since."""
    with tenant_scope(promotion.tenant_id):
        rows = CredentialMapping.objects.filter(
            source_environment_id=promotion.source_environment_id, target_environment_id=promotion.target_environment_id
        ).values_list("credential_type", "source_name", "source_credential_id", "target_credential_id")
        by_name = {(kind, name): target for kind, name, ident, target in rows if not ident}
        carried = {(kind, name): target for kind, name, ident, target in rows if ident}
        by_id = {(kind, ident): target for kind, _, ident, target in rows if ident}
    changed: dict[tuple[str, str], dict[str, Any]] = {}
    for item in plan.get("items", []):
        for used in (*item["credentials"], *item.get("data_tables", ())) if item["action"] != "unchanged" else ():
            kind, name = used["type"], used["source_name"]
            now = by_id.get((kind, used["source_id"])) or by_name.get((kind, name))
            if now is None and used["how"] == "mapping":
                now = carried.get((kind, name))
            if now != used["target_id"] and (now is not None or used["how"] == "mapping"):
                changed[kind, name] = {"type": kind, "name": name, "planned": used["target_id"], "now": now}
    return list(changed.values())


def switched_since(item: Mapping[str, Any], active: bool) -> bool:
    """Whether somebody has switched the target's copy since the plan, other than the plan itself would."""
    return item["target"] is not None and active not in (item["target"]["active"], item["active"])


def approval_gate(promotion: Promotion, target: Environment) -> Gate:
    """Somebody else has looked, where that is needed."""
    if not needs_approval(promotion, target):
        return Gate("approval", "Approval", "open", f"Not needed for {target.name}.")
    if promotion.status in (PromotionStatus.DRAFT, PromotionStatus.PENDING_APPROVAL):
        error = ApprovalNeeded()
        return Gate(
            "approval", "Approval", "waiting", "Somebody other than the requester must approve it.", error=error
        )
    if promotion.decided_at is None:
        return Gate("approval", "Approval", "blocked", ApprovalNeeded.message, error=ApprovalNeeded())
    return Gate("approval", "Approval", "open", "Approved.")


def all_gates(promotion: Promotion, source: Environment, target: Environment) -> list[Gate]:
    """Every gate in the order in which they are met. Reads the database only."""
    return [
        target_gate(promotion, target),
        references_gate(promotion.plan or EMPTY_PLAN),
        scopes_gate(promotion.plan or EMPTY_PLAN),
        credentials_gate(promotion, target),
        freshness_gate(promotion, source, target),
        drift_gate(promotion, target),
        lock_gate(promotion.tenant_id, target, own=promotion.operation_id),
        approval_gate(promotion, target),
    ]


EMPTY_PLAN: dict[str, Any] = {
    "unknown_keys": [],
    "missing_contents": [],
    "dangling": [],
    "proposed": [],
    "items": [],
    "counts": {"create": 0, "update": 0, "unchanged": 0},
}


def red(found: list[Gate]) -> list[Gate]:
    """Those that stay shut until a person acts: a lock goes by itself, and approval is what is asked for."""
    return [gate for gate in found if gate.state == "blocked" and gate.name not in ("lock", "approval")]


def first_refusal(gates: list[Gate]) -> OpsError | None:
    """The error of the first gate that is not open."""
    return next((gate.error for gate in gates if gate.error is not None), None)


def options_of(promotion: Promotion) -> Options:
    """The choices stored on the row."""
    chosen = ("active", "version", "include_required", "require_approval", "repair")
    return Options.read({k: v for k, v in promotion.options.items() if k in chosen})
