"""What the workflows of a plan depend on in the target besides credentials and each other: is it there? Pure.

Each need is met, a warning, or a gate (``dangling``) that says what to do and, where the console can do it, offers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from workflows.n8n.scopes import missing_scopes
from workflows.scanning import Found, scan
from workflows.structure import StructureFault, structure_faults
from workflows.surroundings import DataTable, Package, Surroundings

from .documents import (
    ColumnToCreate,
    MissingReference,
    MissingScope,
    Need,
    Offer,
    PlanItem,
    PlanWarning,
    ScopeCheck,
    UsedResource,
)
from .inputs import PlanInputs
from .mapping import Mapped, UnusedReference
from .missing import listed
from .offers import COLUMNS, REPAIR, TABLE


@dataclass(slots=True)
class NeedsVerdict:
    """What was found of one workflow: ``dangling`` stops the promotion, ``warnings`` do not. ``needs`` are all."""

    dangling: list[MissingReference] = field(default_factory=list)
    warnings: list[PlanWarning] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)

    def met(self, need: Need, message: str) -> None:
        self._add(need, "met", message)

    def warn(self, code: str, need: Need, message: str) -> None:
        self.warnings.append(PlanWarning(code=code, message=message, node=need.node or ""))
        self._add(need, "warning", message)

    def note(self, need: Need, message: str) -> None:
        """Among the needs only: not worth a warning of its own."""
        self._add(need, "warning", message)

    def block(self, need: Need, reason: str, message: str, offer: Offer | None = None) -> None:
        self.dangling.append(
            MissingReference(
                kind=need.kind,
                value=need.value,
                label=need.label or "",
                node=need.node or "",
                path=need.path or "",
                reason=reason,
                message=message,
                offer=offer,
            )
        )
        self._add(need, "gate", message)

    def _add(self, need: Need, state: str, message: str) -> None:
        self.needs.append(msgspec.structs.replace(need, state=state, message=message))


def judge(
    content: Mapping[str, Any], mapped: Mapped, inputs: PlanInputs, *, hosts: Mapping[str, str], ids: Mapping[str, str]
) -> NeedsVerdict:
    """Judge all that ``content`` (of the source) needs in the target; ``hosts`` and ``ids`` as for ``scan``."""
    verdict = NeedsVerdict()
    for used in mapped.data_tables:
        _mapped_table(used, inputs, verdict)
    for found in _once_each(scan(content, hosts=hosts, ids=ids)):
        need = Need(kind=found.kind, value=found.value, label=found.label, node=found.node, path=found.path)
        if found.in_use:
            _JUDGES[found.kind](found, need, inputs, verdict)
        else:
            verdict.met(need, f"Only the disabled node “{found.node}” has it.")
    for unused in mapped.unused:
        _unused(unused, verdict)
    for fault in structure_faults(content):
        _structure(fault, inputs, verdict)
    _own_webhooks(mapped, verdict)
    return verdict


def _once_each(found: Iterable[Found]) -> Iterable[Found]:
    """One variable in fifty places is one need."""
    seen: set[tuple[str, str, bool]] = set()
    for one in found:
        identity = (one.kind, one.value, one.in_use)
        if identity not in seen:
            seen.add(identity)
            yield one


# -- data tables --------------------------------------------------------------------------------------------------


def _mapped_table(used: UsedResource, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    if not used.target_id or not used.in_use:
        return
    here, there = (
        inputs.source_surroundings.table(used.source_id),
        inputs.target_surroundings.table(used.target_id),
    )
    label = there.name if there else used.source_name or used.source_id
    need = Need(kind="data_table", value=used.source_id, label=label)
    if there is None:
        text = f"The data table “{label}” was entered by hand; nobody looked at it."
        verdict.warn("data_table_unseen", need, text)
    elif here is None:
        source = inputs.source.environment.name
        text = f"The columns of the data table “{label}” could not be compared: {source} does not list it."
        verdict.warn("data_table_unseen", need, text)
    else:
        _columns(here, there, need, inputs, verdict)


def _table_by_name(found: Found, need: Need, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    name, target = inputs.target.environment.name, inputs.target_surroundings
    here, there = inputs.source_surroundings.table_named(found.value), target.table_named(found.value)
    if target.data_tables is None:
        text = f"“{found.node}” uses the data table “{found.value}”; {name} does not say whether it has it."
        verdict.warn("data_table_unseen", need, text)
    elif there is None:
        offer = Offer(do=TABLE, name=found.value, columns=ColumnToCreate.of(here.columns)) if here else None
        text = f"“{found.node}” uses the data table “{found.value}”: {name} has none of that name."
        verdict.block(need, "missing_in_target", text, offer)
    elif here is not None:
        _columns(here, there, need, inputs, verdict)
    else:
        verdict.met(need, f"{name} has the data table “{there.name}”.")


def _columns(here: DataTable, there: DataTable, need: Need, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    name = inputs.target.environment.name
    types = {column.name: column.type for column in there.columns}
    absent = [column for column in here.columns if column.name not in types]
    other = [column for column in here.columns if types.get(column.name, column.type) != column.type]
    if absent:
        offer = Offer(do=COLUMNS, table_id=there.id, name=there.name, columns=ColumnToCreate.of(absent))
        text = f"The data table “{there.name}” in {name} lacks {listed(column.name for column in absent)}."
        verdict.block(need, "columns_missing", text, offer)
    elif other:
        texts = ", ".join(f"“{column.name}” is {types[column.name]}, not {column.type}" for column in other)
        verdict.block(need, "columns_differ", f"In the data table “{there.name}” of {name} {texts}.")
    else:
        verdict.met(need, f"{name} has the data table “{there.name}” with the columns that are needed.")


# -- variables ----------------------------------------------------------------------------------------------------


def _variable(found: Found, need: Need, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    name, there = inputs.target.environment.name, inputs.target_surroundings
    value, before = _digest(there, found.value), _digest(inputs.source_surroundings, found.value)
    if there.variables is None:
        why = there.why.get("variables", "It was never looked at.")
        text = f"“{found.node}” reads the variable {found.value}; whether {name} has it cannot be looked at. {why}"
        verdict.warn("variable_unseen", need, text)
    elif value is None and before is None and inputs.source_surroundings.variables is not None:
        text = f"“{found.node}” reads the variable {found.value}, which neither environment has: it is empty."
        verdict.warn("variable_empty", need, text)
    elif value is None:
        text = f"“{found.node}” reads the variable {found.value}, which {name} does not have: create it there in n8n."
        verdict.block(need, "missing_in_target", text)
    elif before not in (None, value):
        verdict.warn("variable_differs", need, f"The variable {found.value} has another value in {name}.")
    else:
        verdict.met(need, f"{name} has the variable {found.value}.")


def _digest(around: Surroundings, variable: str) -> str | None:
    return {known.key: known.digest for known in around.variables or ()}.get(variable)


def _env_variable(found: Found, need: Need, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    reads = f"“{found.node}” reads {found.value} from the environment of n8n's process"
    verdict.warn("env_variable", need, f"{reads}; {inputs.target.environment.name} must have it, and allow it.")


# -- community packages -------------------------------------------------------------------------------------------


def _package(found: Found, need: Need, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    node_type = found.label.rpartition(" ")[0]
    if inputs.target_surroundings.packages is None or found.value == "CUSTOM":
        _package_unseen(found, need, inputs, verdict, node_type)
        return
    name = inputs.target.environment.name
    here = _package_named(inputs.source_surroundings, found.value)
    there = _package_named(inputs.target_surroundings, found.value)
    if there is None:
        version = f" {here.version}" if here and here.version else ""
        text = f"“{found.node}” needs the package {found.value}{version}, which {name} does not have: install it there."
        verdict.block(need, "missing_in_target", text)
    elif not _has_node_type(there, node_type):
        text = (
            f"The package {found.value} {there.version} of {name} has no {node_type}: install the version of the"
            " source."
        )
        verdict.block(need, "missing_in_target", text)
    elif here is not None and here.version != there.version:
        text = f"{name} has the package {found.value} in version {there.version}, the source in {here.version}."
        verdict.warn("package_version", need, text)
    else:
        verdict.met(need, f"{name} has the package {found.value} {there.version}.")


def _package_unseen(found: Found, need: Need, inputs: PlanInputs, verdict: NeedsVerdict, node_type: str) -> None:
    name = inputs.target.environment.name
    if node_type in inputs.target_node_types:
        verdict.met(need, f"Workflows of {name} use {node_type}.")
        return
    text = f"“{found.node}” comes from the package {found.value}; nothing shows that {name} has it."
    verdict.warn("package_unseen", need, text)


def _package_named(around: Surroundings, name: str) -> Package | None:
    return next((package for package in around.packages or () if package.name == name), None)


def _has_node_type(package: Package, node_type: str) -> bool:
    """Unless the package tells its node types, it is taken to have it."""
    known = package.node_types
    return not known or node_type in known or node_type.rpartition(".")[2] in known


# -- what is not rewritten ----------------------------------------------------------------------------------------


def _host(found: Found, need: Need, _inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    text = f"“{found.node}” names {found.value}, which is {found.label}: it will be called from there too."
    verdict.warn("foreign_host", need, text)


def _dynamic_call(found: Found, need: Need, _inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    text = f"“{found.node}” works out at run time which workflow it calls: {found.value}. It is not rewritten."
    verdict.warn("dynamic_call", need, text)


def _hidden_call(found: Found, need: Need, _inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    text = f"“{found.node}” calls a workflow that cannot be read here ({found.value}): what it needs is not known."
    verdict.warn("hidden_call", need, text)


def _mention(found: Found, need: Need, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    source = inputs.source.environment.name
    text = f"“{found.node}” names {found.label} of {source} by its id in {found.path}. It is not rewritten."
    verdict.warn("id_in_text", need, text)


_JUDGES: Mapping[str, Callable[[Found, Need, PlanInputs, NeedsVerdict], None]] = {
    "variable": _variable,
    "env_variable": _env_variable,
    "package": _package,
    "host": _host,
    "data_table": _table_by_name,
    "dynamic_call": _dynamic_call,
    "hidden_call": _hidden_call,
    "mention": _mention,
}


def _unused(unused: UnusedReference, verdict: NeedsVerdict) -> None:
    """A reference that leads nowhere and is not needed: it stays as it is."""
    missing = unused.missing
    label = missing.label or missing.value
    need = Need(
        kind=missing.kind,
        value=missing.value,
        label=label,
        node=missing.node,
        path=missing.path,
        credential_type=missing.credential_type,
    )
    if missing.kind == "credential":
        text = f"“{missing.node}” holds the credential “{label}” ({missing.credential_type}), which it does not use."
        verdict.warn("unused_credential", need, text)
    elif not unused.sure:
        text = f"{missing.message} The node may speak of another n8n, so it is left as it is."
        verdict.warn("unsure_reference", need, text)
    else:
        text = f"{missing.message} It is left as it is: the workflow runs without it."
        verdict.warn("unused_reference", need, text)


def _structure(fault: StructureFault, inputs: PlanInputs, verdict: NeedsVerdict) -> None:
    name = inputs.target.environment.name
    need = Need(kind="structure", value=fault.code, label=fault.code, node=fault.node)
    if fault.repairable and inputs.repairs:
        verdict.warn("repaired", need, f"{fault.message} {fault.repair[:-1]} for {name}.")
    elif inputs.target_surroundings.checks_structure:
        offer = Offer(do=REPAIR) if fault.repairable else None
        verdict.block(need, "structure", f"{fault.message} In {name}, {fault.consequence}", offer)
    else:
        verdict.note(need, fault.message)


def _own_webhooks(mapped: Mapped, verdict: NeedsVerdict) -> None:
    twice = sorted({address for address in mapped.webhooks if mapped.webhooks.count(address) > 1})
    if mapped.content.get("nodes") and twice:
        text = f"Two of its nodes listen at {listed(twice)}: only one of them will be called."
        verdict.warn("webhook_clash", Need(kind="webhook", value=twice[0]), text)


# -- the API key --------------------------------------------------------------------------------------------------


def check_scopes(around: Surroundings, items: Iterable[PlanItem]) -> ScopeCheck:
    """What the target's API key lacks for a plan."""
    if around.scopes is None:
        return ScopeCheck(known=False)
    needed = {"workflow:list", "workflow:read"}
    for item in items:
        needed |= _scopes_for(item)
    lacking = missing_scopes(around.scopes, needed)
    return ScopeCheck(known=True, missing=tuple(MissingScope(scope=m.scope, effect=m.effect) for m in lacking))


def _scopes_for(item: PlanItem) -> set[str]:
    if not item.is_written:
        return set()
    needed = {f"workflow:{item.action}"}
    if item.is_created:
        needed.add("workflow:delete")
    if item.active:
        needed.add("workflow:activate")
    elif item.target is not None and item.target.active:
        needed.add("workflow:deactivate")
    return needed
