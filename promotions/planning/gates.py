"""What must hold before a promotion may run, each with its state and why. Pure: ``gate_facts`` reads what is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import msgspec

from core.documents import Document
from core.errors import OpsError
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
from promotions.models import PromotionStatus
from workflows.normalization import NORMALIZATION_VERSION

from .documents import Plan, PlanItem, PlannedEnvironment, UsedResource
from .gate_facts import CredentialSeen, EnteredMappings, GateFacts, HoldingPromotion, LockHolder, Side, WorkflowSeen
from .options import SourceVersion

OLD_CAPTURE = timedelta(hours=24)
#: Named in a sentence; the details have them all.
NAMED = 3

GateState = Literal["open", "unknown", "blocked", "waiting", "warn"]


@dataclass(frozen=True, slots=True)
class Gate:
    """``error`` is what would be raised. ``details`` are documents that the page and the error show.

    *unknown* lets a promotion pass like *open* does, but nobody has looked, or could.
    """

    name: str
    title: str
    state: GateState
    why: str
    details: Sequence[Document] = ()
    error: OpsError | None = None


class GateVerdict(Document, frozen=True, kw_only=True):
    """What a job records of a gate."""

    name: str
    state: GateState


class ChangedWorkflow(Document, frozen=True, kw_only=True):
    """A workflow that is not as the plan saw it; ``expected`` and ``found`` are hashes of its content."""

    key: str
    name: str
    side: Side
    expected: str | None
    found: str | None


class RemappedResource(Document, frozen=True, kw_only=True):
    """A credential or data table whose mapping was entered, changed or removed since; ids in the target."""

    type: str
    name: str
    planned: str | None
    now: str | None


class CredentialCheck(Document, frozen=True, kw_only=True):
    """``state``: needs_secret, proven, failing, untestable or not_tested."""

    id: str
    name: str
    type: str
    state: str
    message: str


def all_gates(facts: GateFacts) -> list[Gate]:
    """Every gate in the order in which they are met."""
    return [
        target_gate(facts),
        set_aside_gate(facts),
        references_gate(facts.plan),
        scopes_gate(facts.plan),
        credentials_gate(facts),
        freshness_gate(facts),
        source_gate(facts),
        drift_gate(facts),
        lock_gate(facts.target_name, facts.lock_holder),
        approval_gate(facts),
    ]


def closed_gates(gates: Iterable[Gate]) -> list[Gate]:
    """Those that stay shut until a person acts: a lock goes by itself, and approval is what is asked for."""
    return [gate for gate in gates if gate.state == "blocked" and gate.name not in ("lock", "approval")]


def first_refusal(gates: Iterable[Gate]) -> OpsError | None:
    """The error of the first gate that is not open."""
    return next((gate.error for gate in gates if gate.error is not None), None)


def _blocked(name: str, title: str, error: OpsError, details: Sequence[Document] = ()) -> Gate:
    return Gate(name, title, "blocked", error.message, details, error)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def target_gate(facts: GateFacts) -> Gate:
    """No other promotion has left the target half-way."""
    if facts.holding_promotion is None:
        return Gate("target", "Target", "open", f"No promotion holds {facts.target_name}.")
    return _blocked(
        "target", "Target", held_error(facts.target_name, facts.holding_promotion), [facts.holding_promotion]
    )


def held_error(target_name: str, holder: HoldingPromotion) -> TargetHeld:
    """What is raised over a target that is held."""
    return TargetHeld(
        f"“{holder.name}” may have left a mix of old and new workflows in {target_name}.", details=holder.to_json()
    )


def set_aside_gate(facts: GateFacts) -> Gate:
    """What is promoted, and what is written over, could be captured."""
    name, title = "set_aside", "Set aside"
    if not facts.set_aside:
        return Gate(name, title, "open", "Every workflow of both environments could be captured.")
    environments = {"source": facts.source_name, "target": facts.target_name}
    concerned = [one for one in facts.set_aside if one.key in facts.plan.keys]
    said = [f"“{one.name}” in {environments[one.side]}" for one in concerned or facts.set_aside]
    first = (concerned or facts.set_aside)[0]
    if not concerned:
        why = f"Not captured, and not part of this promotion: {_named(said)}. {first.message}"
        return Gate(name, title, "warn", why, facts.set_aside)
    error = PlanStale(
        f"Could not be captured: {_named(said)}. {first.message}",
        details={"set_aside": msgspec.to_builtins(concerned)},
        recovery="Make it smaller in n8n (pinned data is most of it, as a rule), capture again, and plan again.",
    )
    return _blocked(name, title, error, concerned)


def references_gate(plan: Plan) -> Gate:
    """No credential and no sub-workflow may be missing."""
    name, title = "references", "References"
    lost = [*plan.unknown_keys, *plan.missing_contents]
    if lost:
        error = PlanStale(f"Not in the source any more: {', '.join(lost[:5])}.", details={"keys": lost})
        return _blocked(name, title, error)
    if plan.dangling:
        more = len(plan.dangling) - 1
        message = plan.dangling[0].message + (f" {more} more like it." if more else "")
        details = {"dangling": msgspec.to_builtins(plan.dangling), "proposed": msgspec.to_builtins(plan.proposed)}
        return _blocked(name, title, Dangling(message, details=details), plan.dangling)
    if not plan.counts.written:
        return _blocked(name, title, NothingToPromote())
    unasked = [side.name for side, reached in _sides_asked(plan) if not reached]
    if unasked:
        why = (
            f"{' and '.join(unasked)} could not be asked what it has; the plan goes by what was seen last. Plan again"
            " to ask anew."
        )
        return Gate(name, title, "warn", why)
    used = any(item.credentials or item.workflows for item in plan.items)
    return Gate(name, title, "open", "Every reference is mapped." if used else "None.")


def _sides_asked(plan: Plan) -> Iterator[tuple[PlannedEnvironment, bool]]:
    yield plan.source, plan.reached.source
    yield plan.target, plan.reached.target


def scopes_gate(plan: Plan) -> Gate:
    """The target's API key may do all that the plan does, as far as the instance tells."""
    name, title, found = "scopes", "API key", plan.scopes
    if found.missing:
        lacking = ", ".join(missing.scope for missing in found.missing)
        message = f"The API key of the target lacks {lacking}. {found.missing[0].effect}"
        return _blocked(name, title, ScopesLacking(message, details=found.to_json()), found.missing)
    if not found.known:
        return Gate(name, title, "unknown", "This n8n does not tell what its key may do.")
    return Gate(name, title, "open", "The key may do all that this promotion needs.")


def credentials_gate(facts: GateFacts) -> Gate:
    """The credentials that are pointed at hold their secrets, as far as anybody has looked."""
    name, title = "credentials", "Credentials"
    used = facts.plan.target_credential_ids
    if not used:
        return Gate(name, title, "open", "None is needed.")
    checks = [_credential_check(one) for one in facts.credentials]
    empty = [check for check in checks if check.state == "needs_secret"]
    if empty:
        names = ", ".join(f"“{check.name}”" for check in empty[:5])
        message = f"Made as a stub, without its secret: {names}. Enter it in n8n of {facts.target_name}."
        error = SecretsLacking(message, details={"credentials": msgspec.to_builtins(checks)})
        return _blocked(name, title, error, checks)
    failing = next((check for check in checks if check.state == "failing"), None)
    if failing is not None:
        return Gate(name, title, "warn", f"n8n's own test of “{failing.name}” fails: {failing.message}", checks)
    return _tested(checks, len(used))


def _credential_check(seen: CredentialSeen) -> CredentialCheck:
    state = "needs_secret" if seen.needs_secret and seen.test_state != "proven" else seen.test_state or "not_tested"
    return CredentialCheck(id=seen.id, name=seen.name, type=seen.type, state=state, message=seen.test_message)


def _tested(checks: Sequence[CredentialCheck], used: int) -> Gate:
    states = Counter(check.state for check in checks)
    words = {"proven": "proven by n8n's test", "untestable": "not testable", "not_tested": "not tested"}
    summary = ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])
    state: GateState = "open" if states["proven"] == used else "unknown"
    return Gate("credentials", "Credentials", state, f"{summary}." if summary else "Entered by hand.", checks)


def freshness_gate(facts: GateFacts) -> Gate:
    """Both sides as the plan saw them, by hash of every workflow in it; credentials mapped, and the plan, as locked."""
    stale = _stale(facts)
    if stale is not None:
        return stale
    captured = facts.source_captured_at
    if captured is not None and facts.now - captured > OLD_CAPTURE:
        hours = int((facts.now - captured).total_seconds() // 3600)
        why = f"{facts.source_name} was captured {hours} hours ago; it may have changed since."
        return Gate("freshness", "Plan", "warn", why)
    if facts.source_capture_error:
        why = f"The last capture of {facts.source_name} failed: this is an older view of it."
        return Gate("freshness", "Plan", "warn", why)
    return Gate("freshness", "Plan", "open", "Both environments are as the plan saw them.")


def _stale(facts: GateFacts) -> Gate | None:
    name, title, plan = "freshness", "Plan", facts.plan
    if not facts.plan_is_as_locked:
        return _blocked(name, title, PlanStale("The plan is not the one that was locked."))
    if plan.normalization_version != NORMALIZATION_VERSION:
        error = PlanStale(
            "The plan was made under an older way of comparing workflows; its hashes say nothing any more.",
            details={"planned": plan.normalization_version, "now": NORMALIZATION_VERSION},
        )
        return _blocked(name, title, error)
    changed = changed_workflows(facts)
    if changed:
        names = _named([f"“{one.name}” in the {one.side}" for one in changed])
        error = PlanStale(
            f"Changed since the plan was made: {names}.", details={"changed": msgspec.to_builtins(changed)}
        )
        return _blocked(name, title, error, changed)
    remapped = remapped_resources(facts)
    if remapped:
        names = ", ".join(f"“{one.name}”" for one in remapped[:NAMED])
        error = PlanStale(
            f"Mapped otherwise since the plan was made: {names}.",
            details={"credentials": msgspec.to_builtins(remapped)},
        )
        return _blocked(name, title, error, remapped)
    return None


def source_gate(facts: GateFacts) -> Gate:
    """Whether what moves is what is approved in the source. It may well not be: a person should know."""
    name, title, drifted = "source", "Source", facts.drifted_in_source
    if not drifted:
        return Gate(name, title, "open", f"No chosen workflow has drifted in {facts.source_name}.")
    names = _named(list(dict.fromkeys(f"“{one.name}”" for one in drifted)))
    why = f"Drifted in {facts.source_name}, and nobody has settled it: {names}. What is there now is what moves."
    return Gate(name, title, "warn", why, drifted)


def changed_workflows(facts: GateFacts) -> list[ChangedWorkflow]:
    """Workflows of the plan that were seen otherwise since, on either side."""
    return [change for item in facts.plan.items for change in _changes(item, facts)]


def _changes(item: PlanItem, facts: GateFacts) -> Iterator[ChangedWorkflow]:
    in_source, in_target = facts.seen.get(("source", item.key)), facts.seen.get(("target", item.key))
    found = _promoted_hash(item, in_source)
    if found != item.source.content_hash:
        yield ChangedWorkflow(
            key=item.key, name=item.name, side="source", expected=item.source.content_hash, found=found
        )
    if _target_changed(item, in_target):
        found = in_target.content_hash if in_target else None
        yield ChangedWorkflow(key=item.key, name=item.name, side="target", expected=item.expected_hash, found=found)


def _promoted_hash(item: PlanItem, seen: WorkflowSeen | None) -> str | None:
    """The hash in the source of the version that is promoted."""
    if seen is None:
        return None
    is_draft = item.source.version == SourceVersion.DRAFT
    return (seen.draft_hash if is_draft else None) or seen.content_hash


def _target_changed(item: PlanItem, seen: WorkflowSeen | None) -> bool:
    found = seen.content_hash if seen else None
    if seen is None or not found:
        return found != item.expected_hash
    edited = seen.draft_hash != item.expected_draft_hash
    return seen.content_hash != item.expected_hash or edited or was_switched(item, seen.active)


def was_switched(item: PlanItem, active: bool) -> bool:
    """Whether somebody has switched the target's copy since the plan, other than the plan itself would."""
    return item.target is not None and active not in (item.target.active, item.active)


def remapped_resources(facts: GateFacts) -> list[RemappedResource]:
    """Credentials and data tables for which somebody has entered, changed or removed a mapping since."""
    used = (one for item in facts.plan.items if item.is_written for one in item.resources)
    changed: dict[tuple[str, str], RemappedResource] = {}
    for one in used:
        now = _target_now(one, facts.mappings)
        if now != one.target_id and (now is not None or one.how == "mapping"):
            changed[one.type, one.source_name] = RemappedResource(
                type=one.type, name=one.source_name, planned=one.target_id, now=now
            )
    return list(changed.values())


def _target_now(used: UsedResource, mappings: EnteredMappings) -> str | None:
    by_name = (used.type, used.source_name)
    now = mappings.by_id.get((used.type, used.source_id)) or mappings.by_name.get(by_name)
    if now is None and used.how == "mapping":
        return mappings.name_of_id.get(by_name)
    return now


def drift_gate(facts: GateFacts) -> Gate:
    """No drift that the tenant's policy counts as blocking for the workflows of the plan."""
    found = facts.blocking_incidents
    if not found:
        return Gate("drift", "Drift", "open", f"No drift in {facts.target_name} blocks this promotion.")
    names = ", ".join(incident.label for incident in found[:NAMED])
    message = f"{len(found)} drift incidents in {facts.target_name} block promotions: {names}."
    error = DriftBlocks(message, details={"blocking_drift_incidents": msgspec.to_builtins(found)})
    return _blocked("drift", "Drift", error, found)


def lock_gate(target_name: str, holder: LockHolder | None) -> Gate:
    """Nobody else writes to the target."""
    if holder is None:
        return Gate("lock", "Lock", "open", f"Nobody else writes to {target_name}.")
    details = {"operation_id": holder.operation_id, "kind": holder.kind, "status": holder.status}
    error = TargetLocked(f"“{holder.title}” holds {target_name}.", details=details)
    return _blocked("lock", "Lock", error, [holder])


def approval_gate(facts: GateFacts) -> Gate:
    """Somebody else has looked, where that is needed."""
    name, title = "approval", "Approval"
    if not facts.needs_approval:
        return Gate(name, title, "open", f"Not needed for {facts.target_name}.")
    if facts.status in (PromotionStatus.DRAFT, PromotionStatus.PENDING_APPROVAL):
        why = "Somebody other than the requester must approve it."
        return Gate(name, title, "waiting", why, error=ApprovalNeeded())
    if facts.decided_at is None:
        return _blocked(name, title, ApprovalNeeded())
    return Gate(name, title, "open", "Approved.")
