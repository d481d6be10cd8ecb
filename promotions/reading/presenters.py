"""What the pages of promotions show, made of rows and plans."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from operations.models import Operation
from promotions.models import Promotion, PromotionStatus
from promotions.planning.gates import Gate, needs_approval, red
from promotions.services import CAN_ROLL_BACK, PLANNABLE, can_try_again, is_plannable, pre_snapshot_id
from tenants.models import Grants
from tenants.pages import Visit
from workflows.models import Environment
from workflows.permissions import may_approve, may_operate

from . import diffs
from .comparison import Comparison, Row


class Mark(NamedTuple):
    """A mark and the word beside it."""

    mark: str
    word: str


class Returned(NamedTuple):
    """What a rollback has done, by the names of workflows."""

    put_back: list[str]
    deleted: list[str]


ROWS_SHOWN = 200
DIFFERENT = ("only_in_source", "differs")
ACTION_MARKS = {"create": "added", "update": "differs", "unchanged": "in_sync"}
#: What a rollback has made of each workflow that the promotion wrote.
RETURNED = {"create": Mark("removed", "Deleted"), "update": Mark("in_sync", "As before")}
UNCLEAR = Mark("unknown", "Not looked at")
GATE_MARKS = {"open": "in_sync", "warn": "drifted", "blocked": "failed", "waiting": "pending", "unknown": "unknown"}


def item_rows(visit: Visit, promotion: Promotion) -> list[dict[str, Any]]:
    """The plan's workflows with what became of each, unchanged ones last."""
    result = promotion.execution_result or {}
    outcomes = {row["key"]: row for row in result.get("workflows") or ()}
    half_back = _marks_of_rollback(promotion)
    proofs = {row["key"]: row for row in (result.get("verification") or {}).get("workflows") or ()}
    rows = []
    for item in (promotion.plan or {}).get("items", []):
        there = item["target"]
        was_active = there["active"] if there else None
        rows.append(
            {
                **item,
                "mark": ACTION_MARKS[item["action"]],
                "word": {"create": "New", "update": "Changed", "unchanged": "Unchanged"}[item["action"]],
                "diff_url": diffs.of_item(visit.tenant.slug, promotion, item),
                "activation": _activation(was_active, item["active"]),
                "outcome": (outcomes.get(item["key"]) or {}).get("outcome", ""),
                "proof": proofs.get(item["key"]),
                "returned": (
                    RETURNED.get(item["action"])
                    if half_back is None or item["action"] == "unchanged"
                    else half_back.get(item["key"], UNCLEAR)
                ),
            }
        )
    rows.sort(key=lambda row: row["action"] == "unchanged")
    return rows[:ROWS_SHOWN]


def _activation(before: bool | None, after: bool) -> str:
    if before is None:
        return "published" if after else "unpublished"
    if before == after:
        return "stays published" if after else "stays unpublished"
    return "is published" if after else "is unpublished"


def returned(promotion: Promotion) -> Returned | None:
    """What its rollback put back and what it deleted; None unless it was rolled back whole."""
    record = (promotion.execution_result or {}).get("manual_rollback")
    if promotion.status != PromotionStatus.ROLLED_BACK or not record:
        return None
    names = [(row["action"], row["name"] or row["key"]) for row in record["workflows"]]
    return Returned(
        put_back=[name for action, name in names if action != "create"],
        deleted=[name for action, name in names if action == "create"],
    )


def automatic_rollback(promotion: Promotion) -> dict[str, Any] | None:
    """How the console itself had put the target back, whatever a person's rollback has made of it since."""
    result = promotion.execution_result or {}
    back: dict[str, Any] | None = result.get("rollback_result")
    return result.get("automatic_rollback") if back and back.get("by_hand") else back


def _marks_of_rollback(promotion: Promotion) -> dict[str, Mark] | None:
    """By key, what a rollback by a person that did not come to a whole end has left; None where there is none."""
    record = (promotion.execution_result or {}).get("manual_rollback") or {}
    if record.get("status") not in ("partial", "failed"):
        return None
    proof = record.get("proof")
    if proof is None:
        return {}
    odd = {found[name] for found in proof["not_as_before"] for name in ("key", "env_workflow_id")}
    items = {item["key"]: item for item in (promotion.plan or {}).get("items", [])}
    return {
        row["key"]: Mark("failed", "Not as before")
        if odd & {row["key"], row.get("env_workflow_id") or row["key"]}
        else RETURNED.get(items[row["key"]]["action"], UNCLEAR)
        for row in record["workflows"]
        if row["key"] in items
    }


def gate_rows(gates: list[Gate]) -> list[dict[str, Any]]:
    """The gates with their marks."""
    return [{**gate.to_dict(), "mark": GATE_MARKS[gate.state]} for gate in gates]


def powers(visit: Visit, promotion: Promotion, gates: list[Gate], rollback: Operation | None) -> dict[str, Any]:
    """What this visitor may do now, and where they may not, why."""
    target = promotion.target_environment
    operate, approve = may_operate(visit, target), may_approve(visit, target)
    status = promotion.status
    blocked = next((gate.why for gate in gates if gate.state in ("blocked", "waiting")), "")
    own = str(visit.user.pk) in {*(promotion.options.get("requesters") or ()), str(promotion.created_by_id)}
    rolling = rollback is not None and rollback.is_open
    closed = red(gates)
    return {
        "operate": operate,
        "needs_approval": needs_approval(promotion, target),
        "submit": operate and status == PromotionStatus.DRAFT,
        "submit_why_not": "; ".join(f"{gate.title}: {gate.why}" for gate in closed),
        "red": closed,
        "replan": operate and is_plannable(promotion),
        "decide": approve and status == PromotionStatus.PENDING_APPROVAL,
        "approve_why_not": "You asked for it: somebody else must approve." if own else "",
        "execute": operate and (status == PromotionStatus.APPROVED or can_try_again(promotion)),
        "execute_why_not": blocked,
        "cancel": operate and status in (*PLANNABLE, PromotionStatus.RUNNING),
        "rollback": operate
        and status in CAN_ROLL_BACK
        and bool(pre_snapshot_id(promotion))
        and _wrote(promotion)
        and not rolling,
        "release": operate and promotion.attention_since is not None and not rolling,
        "may_map": visit.may(Grants.OPERATE),
    }


def _wrote(promotion: Promotion) -> bool:
    result = promotion.execution_result or {}
    if result.get("target_untouched"):
        return False
    back = result.get("rollback_result")
    return back is None or back.get("status") != "success"


KIND_TITLES = {
    "credential": "Credentials",
    "workflow": "Workflows",
    "data_table": "Data tables",
    "variable": "Variables",
    "package": "Community packages",
    "structure": "n8n's own rules",
}


def dangling_groups(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Dangling references, one line each thing that is missing, with who needs it; by kind, credentials first.

    ``title`` is set on the first of each kind.
    """
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for found in plan.get("dangling", []):
        value = found["value"] or found["label"]
        if found["kind"] == "structure":
            value = found["message"]
        ident = (found["kind"], found["credential_type"], value, found["reason"])
        group = groups.setdefault(ident, {**found, "needed_by": []})
        if found["workflow_name"] not in group["needed_by"]:
            group["needed_by"].append(found["workflow_name"])
    order = list(KIND_TITLES)
    rows = sorted(groups.values(), key=lambda row: order.index(row["kind"]) if row["kind"] in order else len(order))
    before = ""
    for row in rows:
        row["title"] = KIND_TITLES.get(row["kind"], "Other") if row["kind"] != before else ""
        before = row["kind"]
    return rows


def offered(plan: dict[str, Any]) -> dict[str, Any]:
    """What can be made in the target at once: how many of which, and whether connections can be pruned."""
    offers = [found["offer"] for found in plan.get("dangling", []) if found.get("offer")]
    made = {offer["id"]: offer["do"] for offer in offers if offer["do"] != "repair"}
    words = {
        "create_credential": ("credential stub", "credential stubs"),
        "create_data_table": ("data table", "data tables"),
        "create_columns": ("set of columns", "sets of columns"),
    }
    counts = [(sum(do == name for do in made.values()), *word) for name, word in words.items()]
    told = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    return {
        "ids": list(made),
        "text": " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told),
        "tables": any(do == "create_data_table" for do in made.values()),
        "repair": any(offer["do"] == "repair" for offer in offers),
    }


def blocked_by_drift(compared: Comparison) -> dict[str, Any]:
    """Drift that stands in the way: ``keys`` of the workflows that it holds back, with the ``names`` of those that
    could go otherwise and the number of the ``others``; or ``overdue``, the number of incidents past their time, which
    hold back all."""
    found = compared.blocking_drift_incidents
    keys = {incident["workflow_key"] for incident in found}
    names = [row.name or row.key for row in compared.rows if row.can_be_promoted and row.key in keys]
    others = sum(row.target_drifted and not row.can_be_promoted for row in compared.rows)
    overdue = sum(one["reason"] == "ttl_expired" for one in found)
    return {"keys": keys, "names": names, "others": others, "overdue": overdue}


def compare_rows(
    visit: Visit, rows: list[Row], source: Environment, target: Environment, *, blocked: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The comparison's rows for the table: state, diff, and whether drift in the target holds it back (``blocked``)."""
    words = {
        "only_in_source": ("added", f"Only in {source.name}"),
        "only_in_target": ("removed", f"Only in {target.name}"),
        "differs": ("differs", "Differs"),
        "equal": ("in_sync", "Equal"),
    }
    shown = []
    for row in rows:
        mark, word = words[row.state]
        if row.state == "equal" and row.beside:
            mark = "differs"
        different = row.state in DIFFERENT
        url = diffs.of_row(visit.tenant.slug, row.key, source, target, draft=row.is_draft) if different else ""
        if row.beside:
            word = f"{'Same content' if row.state == 'equal' else word}, {' and '.join(row.beside)} in {target.name}"
        held = row.can_be_promoted and row.key in blocked
        shown.append({"row": row, "mark": mark, "word": word, "diff_url": url, "blocked": held})
    return shown
