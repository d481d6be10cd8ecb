"""What the pages of promotions show, made of rows and plans."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from operations.models import Operation
from promotions.lifecycle import CAN_ROLL_BACK, PLANNABLE, can_try_again, is_plannable
from promotions.models import Promotion, PromotionStatus
from promotions.planning.documents import MissingReference, Plan, PlanItem
from promotions.planning.gate_facts import needs_approval
from promotions.planning.gates import Gate, closed_gates
from promotions.planning.offers import COLUMNS, REPAIR, STUB, TABLE
from promotions.reviewing.reading import Review
from promotions.running.documents import ExecutionResult, VerifiedWorkflow, WorkflowOutcome, read_result
from tenants.models import Grants
from tenants.pages import Visit
from workflows.models import Environment
from workflows.permissions import may_approve, may_operate

from . import diffs
from .comparison import Comparison, ComparisonRow, RowState
from .rollbacks import Mark, returned


class Choice(NamedTuple):
    """A credential or data table of the target that may be chosen."""

    credential_id: str
    name: str


ROWS_SHOWN = 200
DIFFERENT = ("only_in_source", "differs")
ACTIONS: Mapping[str, Mark] = {
    "create": Mark("added", "New"),
    "update": Mark("differs", "Changed"),
    "unchanged": Mark("in_sync", "Unchanged"),
}
GATE_MARKS = {"open": "in_sync", "warn": "drifted", "blocked": "failed", "waiting": "pending", "unknown": "unknown"}


# -- the workflows of a plan --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One workflow of the plan (``item``), and what became of it."""

    item: PlanItem
    state: Mark
    diff_url: str
    review_url: str
    comments: int
    is_viewed: bool
    activation: str
    outcome: WorkflowOutcome | None
    proof: VerifiedWorkflow | None
    returned: Mark | None

    @property
    def title(self) -> str:
        return self.item.name or self.item.key

    @property
    def ident(self) -> str:
        """What the page calls its difference: another one where a content is another."""
        return diffs.mark_of(self.item)


def item_rows(
    visit: Visit, promotion: Promotion, plan: Plan, result: ExecutionResult, review: Review, *, whole: bool = False
) -> list[ItemRow]:
    """The plan's workflows with what became of each, unchanged ones last: the first, or the ``whole`` of them."""
    outcomes = {row.key: row for row in result.workflows or ()}
    proofs = {row.key: row for row in result.verification.workflows} if result.verification else {}
    back = returned(plan, result)
    items = sorted(plan.items, key=lambda item: not item.is_written)
    return [
        ItemRow(
            item=item,
            state=ACTIONS[item.action],
            diff_url=diffs.of_item(visit.tenant.slug, promotion, plan, item, result),
            review_url=diffs.review_of(visit.tenant.slug, promotion, item.key),
            comments=len(review.comments.get(item.key, ())),
            is_viewed=item.key in review.viewed_by_reader,
            activation=_activation(item),
            outcome=outcomes.get(item.key),
            proof=proofs.get(item.key),
            returned=back.get(item.key),
        )
        for item in (items if whole else items[:ROWS_SHOWN])
    ]


def _activation(item: PlanItem) -> str:
    after = "published" if item.active else "unpublished"
    if item.target is None:
        return after
    return f"stays {after}" if item.target.active == item.active else f"is {after}"


# -- gates and powers ---------------------------------------------------------------------------------------------


class GateRow(NamedTuple):
    """A gate with its mark."""

    gate: Gate
    mark: str


def gate_rows(gates: Iterable[Gate]) -> list[GateRow]:
    """The gates with their marks."""
    return [GateRow(gate, GATE_MARKS[gate.state]) for gate in gates]


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """What this visitor may do now, and where they may not, why."""

    operate: bool
    needs_approval: bool
    submit: bool
    submit_why_not: str
    closed_gates: list[Gate]
    replan: bool
    decide: bool
    approve_why_not: str
    execute: bool
    execute_why_not: str
    cancel: bool
    rollback: bool
    release: bool
    may_map: bool


def powers(visit: Visit, promotion: Promotion, gates: Sequence[Gate], rollback: Operation | None) -> Powers:
    """What this visitor may do now. ``rollback`` is the latest one, if any."""
    target, status = promotion.target_environment, promotion.status
    operate = may_operate(visit, target)
    closed = closed_gates(gates)
    is_rolling_back = rollback is not None and rollback.is_open
    return Powers(
        operate=operate,
        needs_approval=needs_approval(promotion),
        submit=operate and status == PromotionStatus.DRAFT,
        submit_why_not="; ".join(f"{gate.title}: {gate.why}" for gate in closed),
        closed_gates=closed,
        replan=operate and is_plannable(promotion),
        decide=may_approve(visit, target) and status == PromotionStatus.PENDING_APPROVAL,
        approve_why_not="You asked for it: somebody else must approve." if _asked_for_it(visit, promotion) else "",
        execute=operate and (status == PromotionStatus.APPROVED or can_try_again(promotion)),
        execute_why_not=next((gate.why for gate in gates if gate.state in ("blocked", "waiting")), ""),
        cancel=operate and status in (*PLANNABLE, PromotionStatus.RUNNING),
        rollback=operate and _can_be_rolled_back(promotion) and not is_rolling_back,
        release=operate and promotion.attention_since is not None and not is_rolling_back,
        may_map=visit.may(Grants.OPERATE),
    )


def _asked_for_it(visit: Visit, promotion: Promotion) -> bool:
    return str(visit.user.pk) in {*(promotion.options.get("requesters") or ()), str(promotion.created_by_id)}


def _can_be_rolled_back(promotion: Promotion) -> bool:
    """Whether it wrote something that no rollback has restored."""
    result = read_result(promotion.execution_result)
    return promotion.status in CAN_ROLL_BACK and bool(result.pre_snapshot_id) and not result.left_target_as_it_was


# -- what is missing, and what can be created ---------------------------------------------------------------------


KIND_TITLES = {
    "credential": "Credentials",
    "workflow": "Workflows",
    "data_table": "Data tables",
    "variable": "Variables",
    "package": "Community packages",
    "structure": "n8n's own rules",
}


@dataclass(slots=True, kw_only=True)
class MissingGroup:
    """One thing that is missing, with the names of the workflows that need it, and what can be chosen instead.

    ``title`` is set on the first of each kind.
    """

    missing: MissingReference
    needed_by: list[str] = field(default_factory=list)
    title: str = ""
    choices: Sequence[Choice] = ()

    @property
    def can_be_mapped(self) -> bool:
        """Whether a person may enter what stands for it in the target."""
        return bool(self.missing.credential_type) and self.missing.reason not in ("columns_missing", "columns_differ")


def missing_groups(plan: Plan) -> list[MissingGroup]:
    """Missing references, one line each thing, by kind, credentials first."""
    groups: dict[tuple[str, ...], MissingGroup] = {}
    for missing in plan.dangling:
        group = groups.setdefault(_identity(missing), MissingGroup(missing=missing))
        if missing.workflow_name not in group.needed_by:
            group.needed_by.append(missing.workflow_name)
    order = {kind: number for number, kind in enumerate(KIND_TITLES)}
    rows = sorted(groups.values(), key=lambda group: order.get(group.missing.kind, len(order)))
    before = ""
    for row in rows:
        row.title = KIND_TITLES.get(row.missing.kind, "Other") if row.missing.kind != before else ""
        before = row.missing.kind
    return rows


def _identity(missing: MissingReference) -> tuple[str, ...]:
    value = missing.message if missing.kind == "structure" else missing.value or missing.label
    return missing.kind, missing.credential_type, value, missing.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What can be created in the target at once, in words; ``repair``: whether connections can be removed."""

    ids: list[str]
    text: str
    tables: bool
    repair: bool


_OFFER_WORDS = {
    STUB: ("credential stub", "credential stubs"),
    TABLE: ("data table", "data tables"),
    COLUMNS: ("set of columns", "sets of columns"),
}


def offered(plan: Plan) -> Offered:
    """What the plan offers."""
    offers = [missing.offer for missing in plan.dangling if missing.offer]
    kinds = {offer.id: offer.do for offer in offers if offer.do != REPAIR}
    counts = [(list(kinds.values()).count(kind), *words) for kind, words in _OFFER_WORDS.items()]
    parts = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    return Offered(
        ids=list(kinds),
        text=" and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts),
        tables=TABLE in kinds.values(),
        repair=any(offer.do == REPAIR for offer in offers),
    )


# -- comparisons --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedByDrift:
    """Drift that stops a promotion: ``keys`` of the workflows that it holds back, with the ``names`` of those that
    could go otherwise and the number of the ``others``; or ``overdue``, the number of incidents past their time, which
    hold back all."""

    keys: set[str]
    names: list[str]
    others: int
    overdue: int


def blocked_by_drift(compared: Comparison) -> BlockedByDrift:
    """What drift in the target holds back."""
    incidents = compared.blocking_drift_incidents
    keys = {incident.workflow_key for incident in incidents}
    return BlockedByDrift(
        keys=keys,
        names=[row.name or row.key for row in compared.rows if row.can_be_promoted and row.key in keys],
        others=sum(row.target_drifted and not row.can_be_promoted for row in compared.rows),
        overdue=sum(incident.reason == "ttl_expired" for incident in incidents),
    )


class CompareRow(NamedTuple):
    """A row of the comparison's table; ``blocked``: drift in the target holds it back."""

    row: ComparisonRow
    mark: str
    word: str
    diff_url: str
    blocked: bool


def compare_rows(
    visit: Visit,
    rows: Iterable[ComparisonRow],
    source: Environment,
    target: Environment,
    *,
    blocked: Collection[str] = (),
) -> list[CompareRow]:
    """The rows for the table; ``blocked`` are the keys that drift holds back."""
    return [
        CompareRow(
            row=row,
            mark="differs" if row.state == "equal" and row.other_differences else _row_state(row.state, "").mark,
            word=_row_word(row, source, target),
            diff_url=_row_diff(visit, row, source, target),
            blocked=row.can_be_promoted and row.key in blocked,
        )
        for row in rows
    ]


def _row_state(state: RowState, environment: str) -> Mark:
    marks: Mapping[RowState, Mark] = {
        "only_in_source": Mark("added", f"Only in {environment}"),
        "only_in_target": Mark("removed", f"Only in {environment}"),
        "differs": Mark("differs", "Differs"),
        "equal": Mark("in_sync", "Equal"),
    }
    return marks[state]


def _row_word(row: ComparisonRow, source: Environment, target: Environment) -> str:
    word = _row_state(row.state, target.name if row.state == "only_in_target" else source.name).word
    if not row.other_differences:
        return word
    same = "Same content" if row.state == "equal" else word
    return f"{same}, {' and '.join(row.other_differences)} in {target.name}"


def _row_diff(visit: Visit, row: ComparisonRow, source: Environment, target: Environment) -> str:
    if row.state not in DIFFERENT:
        return ""
    return diffs.of_row(visit.tenant.slug, row.key, source, target, draft=row.is_draft)
