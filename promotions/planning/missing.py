"""Why a reference of a workflow leads nowhere in the target, in words, and what can be created instead. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from workflows.references import Reference

from .documents import ColumnToCreate, MissingReference, Offer
from .inputs import PlanInputs
from .offers import TABLE


def missing_reference(ref: Reference, inputs: PlanInputs) -> MissingReference:
    """What is missing, and why it cannot be found."""
    return _EXPLANATIONS.get(ref.kind, _missing_workflow)(ref, inputs)


def listed(names: Iterable[str]) -> str:
    """`“a”, “b” and “c”`."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else ""


def _missing(ref: Reference, *, reason: str, message: str) -> MissingReference:
    return MissingReference(
        kind=ref.kind,
        node=ref.node,
        path=ref.path,
        value=ref.value,
        label=ref.name,
        credential_type=ref.credential_type,
        reason=reason,
        message=message,
    )


def _where(ref: Reference) -> str:
    return f"“{ref.node}”" if ref.node else ref.path


def _missing_credential(ref: Reference, inputs: PlanInputs) -> MissingReference:
    how = inputs.resources.resolve(ref.credential_type, ref.name, ref.value).how
    names = inputs.resources.names_of(ref.credential_type, ref.value, ref.name)
    label = names[0] or ref.value or "unnamed"
    why = _why_no_credential(how, names, inputs.target.environment.name)
    found = _missing(
        ref, reason=how, message=f"{_where(ref)} uses the credential “{label}” ({ref.credential_type}): {why}."
    )
    return msgspec.structs.replace(found, label=label, stored_name=ref.name)


def _why_no_credential(how: str, names: Iterable[str], target: str) -> str:
    known: Mapping[str, str] = {
        "ambiguous": f"{target} has several credentials of that name",
        "several_names": f"nodes call it {listed(names)}, and {target} has a credential of more than one of these",
        "gone": f"the one that it is mapped to is not in {target} any more",
    }
    return known.get(how, f"{target} is not known to have it")


def _missing_table(ref: Reference, inputs: PlanInputs) -> MissingReference:
    """A data table that is used by its id."""
    there = inputs.source_surroundings.table(ref.value)
    label = there.name if there else ref.name
    reason, why = _why_no_table(ref, inputs, label)
    called = f"“{label}”" if label else ref.value
    message = f"“{ref.node}” uses the data table {called}: {why}.".replace("..", ".")
    can_be_created = there is not None and reason == "missing_in_target"
    offer = Offer(do=TABLE, name=label, columns=ColumnToCreate.of(there.columns)) if there and can_be_created else None
    return msgspec.structs.replace(_missing(ref, reason=reason, message=message), label=label, offer=offer)


def _why_no_table(ref: Reference, inputs: PlanInputs, label: str) -> tuple[str, str]:
    name, target = inputs.target.environment.name, inputs.target_surroundings
    if inputs.resources.resolve(ref.credential_type, ref.name, ref.value).how == "gone":
        return "gone", f"the one that it is mapped to is not in {name} any more"
    if target.data_tables is None:
        why = f"{name} does not say which data tables it has. {target.why.get('data_tables', '')}"
        return "not_listed", why.strip()
    if not label:
        return "unknown_in_source", f"{inputs.source.environment.name} does not say what it is called"
    return "missing_in_target", f"{name} has none of that name"


def _missing_workflow(ref: Reference, inputs: PlanInputs) -> MissingReference:
    key = inputs.source.key_by_id.get(ref.value)
    if key is None:
        source = inputs.source.environment.name
        message = f"{_where(ref)} calls the workflow {ref.value}, which was not seen in {source} either."
        return _missing(ref, reason="missing_in_source", message=message)
    name = inputs.source.workflows[key].name or key
    message = f"{_where(ref)} calls “{name}”, which {inputs.target.environment.name} does not have."
    found = _missing(ref, reason="missing_in_target", message=message)
    return msgspec.structs.replace(found, key=key, label=name)


_EXPLANATIONS: Mapping[str, Callable[[Reference, PlanInputs], MissingReference]] = {
    "credential": _missing_credential,
    "data_table": _missing_table,
}
