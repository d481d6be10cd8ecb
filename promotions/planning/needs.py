"""What the workflows of a plan stand on in the target besides credentials and each other: is it there? Pure.

Each need is met, a warning, or a gate (``dangling``) that says what to do and, where the console can do it, offers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workflows.models import Environment
from workflows.n8n.scopes import missing_scopes
from workflows.references import Reference
from workflows.scanning import Found, scan
from workflows.structure import structure_faults
from workflows.surroundings import Column, DataTable, Surroundings

if TYPE_CHECKING:
    from .inputs import Facts
    from .mapping import Mapped

STUB, TABLE, COLUMNS, REPAIR = "create_credential", "create_data_table", "create_columns", "repair"
"""What can be offered: see ``preparing``."""


@dataclass(slots=True)
class Verdict:
    """What was found of one workflow: ``dangling`` stops the promotion, ``warnings`` do not. ``needs`` are all."""

    dangling: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    needs: list[dict[str, Any]] = field(default_factory=list)

    def met(self, found: Mapping[str, Any], message: str) -> None:
        self.needs.append({**found, "state": "met", "message": message})

    def warn(self, code: str, found: Mapping[str, Any], message: str) -> None:
        self.warnings.append({"code": code, "message": message, "node": str(found.get("node") or "")})
        self.needs.append({**found, "state": "warning", "message": message})

    def block(self, found: Mapping[str, Any], reason: str, message: str, **more: Any) -> None:
        self.dangling.append({**_GAP, **found, "reason": reason, "message": message, **more})
        self.needs.append({**found, "state": "gate", "message": message})


_GAP: dict[str, Any] = {"credential_type": "", "key": None, "label": "", "path": "", "node": "", "offer": None}


def listed(names: Iterable[str]) -> str:
    """`“a”, “b” and “c”`."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else ""


def missing_table(ref: Reference, facts: Facts) -> dict[str, Any]:
    """Why a data table that is used by id leads nowhere in the target, and what is offered."""
    source, target = facts.around_source, facts.around_target
    here = source.table(ref.value)
    label = here.name if here else ref.name
    name = facts.target.environment.name
    called = f"“{label}”" if label else ref.value
    if facts.resolve(ref.credential_type, ref.name, ref.value).how == "gone":
        why, reason = f"the one that it is mapped to is not in {name} any more", "gone"
    elif target.data_tables is None:
        why = f"{name} does not say which data tables it has. {target.why.get('data_tables', '')}".strip()
        reason = "not_listed"
    elif here is None and not label:
        why, reason = f"{facts.source.environment.name} does not say what it is called", "unknown_in_source"
    else:
        why, reason = f"{name} has none of that name", "missing_in_target"
    offer = {"do": TABLE, "name": label, "columns": _columns(here)} if here and reason == "missing_in_target" else None
    return {
        "label": label,
        "reason": reason,
        "offer": offer,
        "message": f"“{ref.node}” uses the data table {called}: {why}.".replace("..", "."),
    }


def _columns(table: DataTable) -> list[dict[str, str]]:
    return [{"name": c.name, "type": c.type} for c in table.columns]


def judge(
    content: Mapping[str, Any], mapped: Mapped, facts: Facts, *, hosts: Mapping[str, str], ids: Mapping[str, str]
) -> Verdict:
    """Look at all that ``content`` (of the source) needs in the target; ``hosts`` and ``ids`` as for ``scan``."""
    verdict = Verdict()
    _tables(mapped, facts, verdict)
    met: set[tuple[str, str, bool]] = set()
    for found in scan(content, hosts=hosts, ids=ids):
        # One variable in fifty places is one need.
        mark = (found.kind, found.value, found.in_use)
        if mark in met:
            continue
        met.add(mark)
        fact = {"kind": found.kind, "value": found.value, "label": found.label, "node": found.node, "path": found.path}
        if not found.in_use:
            verdict.met(fact, f"Only the disabled node “{found.node}” has it.")
            continue
        _JUDGES[found.kind](found, fact, facts, verdict)
    _unused(mapped, verdict)
    _structure(content, facts, verdict)
    if mapped.content.get("nodes") and len(set(mapped.webhooks)) < len(mapped.webhooks):
        twice = sorted({a for a in mapped.webhooks if mapped.webhooks.count(a) > 1})
        text = f"Two of its nodes listen at {listed(twice)}: only one of them will be called."
        verdict.warn("webhook_clash", {"kind": "webhook", "value": twice[0]}, text)
    return verdict


def _tables(mapped: Mapped, facts: Facts, verdict: Verdict) -> None:
    name = facts.target.environment.name
    for used in mapped.data_tables:
        here, there = facts.around_source.table(used["source_id"]), facts.around_target.table(used["target_id"] or "")
        label = there.name if there else used["source_name"] or used["source_id"]
        fact = {"kind": "data_table", "value": used["source_id"], "label": label}
        if not used["target_id"] or not used["in_use"]:
            continue
        if there is None:
            verdict.warn(
                "data_table_unseen", fact, f"The data table “{label}” was entered by hand; nobody looked at it."
            )
        elif here is None:
            text = f"The columns of the data table “{label}” could not be compared: {facts.source.environment.name}"
            verdict.warn("data_table_unseen", fact, f"{text} does not list it.")
        else:
            _lacking(here, there, fact, name, verdict)


def _lacking(here: DataTable, there: DataTable, fact: Mapping[str, Any], name: str, verdict: Verdict) -> None:
    types = {c.name: c.type for c in there.columns}
    absent = [c for c in here.columns if c.name not in types]
    other = [c for c in here.columns if c.name in types and types[c.name] != c.type]
    if absent:
        offer = {"do": COLUMNS, "table_id": there.id, "name": there.name, "columns": _column_rows(absent)}
        text = f"The data table “{there.name}” in {name} lacks {listed(c.name for c in absent)}."
        verdict.block(fact, "columns_missing", text, offer=offer)
    elif other:
        texts = ", ".join(f"“{c.name}” is {types[c.name]}, not {c.type}" for c in other)
        verdict.block(fact, "columns_differ", f"In the data table “{there.name}” of {name} {texts}.")
    else:
        verdict.met(fact, f"{name} has the data table “{there.name}” with the columns that are needed.")


def _column_rows(columns: Sequence[Column]) -> list[dict[str, str]]:
    return [{"name": c.name, "type": c.type} for c in columns]


def _table_by_name(found: Found, fact: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    name, target = facts.target.environment.name, facts.around_target
    here, there = facts.around_source.table_named(found.value), target.table_named(found.value)
    if target.data_tables is None:
        text = f"“{found.node}” uses the data table “{found.value}”; {name} does not say whether it has it."
        verdict.warn("data_table_unseen", fact, text)
    elif there is None:
        offer = {"do": TABLE, "name": found.value, "columns": _columns(here)} if here else None
        text = f"“{found.node}” uses the data table “{found.value}”: {name} has none of that name."
        verdict.block(fact, "missing_in_target", text, offer=offer)
    elif here is not None:
        _lacking(here, there, fact, name, verdict)
    else:
        verdict.met(fact, f"{name} has the data table “{there.name}”.")


def _variable(found: Found, fact: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    name, here, there = facts.target.environment.name, facts.around_source.variables, facts.around_target.variables
    if there is None:
        why = facts.around_target.why.get("variables", "It was never looked at.")
        text = f"“{found.node}” reads the variable {found.value}; whether {name} has it cannot be looked at. {why}"
        verdict.warn("variable_unseen", fact, text)
        return
    value = {v.key: v.digest for v in there}.get(found.value)
    before = {v.key: v.digest for v in here or ()}.get(found.value)
    if value is None and here is not None and before is None:
        text = f"“{found.node}” reads the variable {found.value}, which neither environment has: it is empty."
        verdict.warn("variable_empty", fact, text)
    elif value is None:
        text = f"“{found.node}” reads the variable {found.value}, which {name} does not have: create it there in n8n."
        verdict.block(fact, "missing_in_target", text)
    elif before is not None and before != value:
        verdict.warn("variable_differs", fact, f"The variable {found.value} has another value in {name}.")
    else:
        verdict.met(fact, f"{name} has the variable {found.value}.")


def _env_variable(found: Found, fact: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    name = facts.target.environment.name
    text = (
        f"“{found.node}” reads {found.value} from the environment of n8n's process; {name} must have it, and allow it."
    )
    verdict.warn("env_variable", fact, text)


def _host(found: Found, fact: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    text = f"“{found.node}” names {found.value}, which is {found.label}: it will be called from there too."
    verdict.warn("foreign_host", fact, text)


def _package(found: Found, fact: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    name, around = facts.target.environment.name, facts.around_target
    kind = found.label.rpartition(" ")[0]
    if around.packages is None or found.value == "CUSTOM":
        if kind in facts.target_types:
            verdict.met(fact, f"Workflows of {name} use {kind}.")
            return
        text = f"“{found.node}” comes from the package {found.value}; nothing shows that {name} has it."
        verdict.warn("package_unseen", fact, text)
        return
    there = next((p for p in around.packages if p.name == found.value), None)
    here = next((p for p in facts.around_source.packages or () if p.name == found.value), None)
    if there is None:
        version = f" {here.version}" if here and here.version else ""
        text = f"“{found.node}” needs the package {found.value}{version}, which {name} does not have: install it there."
        verdict.block(fact, "missing_in_target", text)
    elif there.node_types and kind not in there.node_types and kind.rpartition(".")[2] not in there.node_types:
        text = f"The package {found.value} {there.version} of {name} has no {kind}: install the version of the source."
        verdict.block(fact, "missing_in_target", text)
    elif here is not None and here.version != there.version:
        text = f"{name} has the package {found.value} in version {there.version}, the source in {here.version}."
        verdict.warn("package_version", fact, text)
    else:
        verdict.met(fact, f"{name} has the package {found.value} {there.version}.")


def _dynamic_call(found: Found, fact: Mapping[str, Any], _facts: Facts, verdict: Verdict) -> None:
    text = f"“{found.node}” works out at run time which workflow it calls: {found.value}. It is not rewritten."
    verdict.warn("dynamic_call", fact, text)


def _hidden_call(found: Found, fact: Mapping[str, Any], _facts: Facts, verdict: Verdict) -> None:
    text = f"“{found.node}” calls a workflow that cannot be read here ({found.value}): what it needs is not known."
    verdict.warn("hidden_call", fact, text)


def _mention(found: Found, fact: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    source = facts.source.environment.name
    text = f"“{found.node}” names {found.label} of {source} by its id in {found.path}. It is not rewritten."
    verdict.warn("id_in_text", fact, text)


_JUDGES = {
    "variable": _variable,
    "env_variable": _env_variable,
    "package": _package,
    "host": _host,
    "data_table": _table_by_name,
    "dynamic_call": _dynamic_call,
    "hidden_call": _hidden_call,
    "mention": _mention,
}


def _unused(mapped: Mapped, verdict: Verdict) -> None:
    """References that lead nowhere and are not needed: said, and left as they are."""
    for found in mapped.unused:
        label = found["label"] or found["value"]
        fact = {key: found[key] for key in ("kind", "value", "label", "node", "path", "credential_type")}
        if found["kind"] == "credential":
            text = (
                f"“{found['node']}” holds the credential “{label}” ({found['credential_type']}), which it does not use."
            )
            verdict.warn("unused_credential", fact, text)
        elif not found["sure"]:
            text = f"{found['message']} The node may speak of another n8n, so it is left as it is."
            verdict.warn("unsure_reference", fact, text)
        else:
            text = f"{found['message']} It is left as it is: the workflow runs without it."
            verdict.warn("unused_reference", fact, text)


def _structure(content: Mapping[str, Any], facts: Facts, verdict: Verdict) -> None:
    name = facts.target.environment.name
    for fault in structure_faults(content):
        fact = {"kind": "structure", "value": fault.code, "label": fault.code, "node": fault.node}
        if fault.repairable and facts.prunes:
            verdict.warn("repaired", fact, f"{fault.message} {fault.repair[:-1]} for {name}.")
        elif facts.around_target.checks_structure:
            offer = {"do": REPAIR} if fault.repairable else None
            text = f"{fault.message} In {name}, {fault.consequence}"
            verdict.block(fact, "structure", text, offer=offer)
        else:
            verdict.needs.append({**fact, "state": "warning", "message": fault.message})


def complete_offers(dangling: Iterable[dict[str, Any]], facts: Facts) -> None:
    """Offer to create a stub of each credential that the target lacks, and give every offer its id."""
    for found in dangling:
        if found["kind"] == "credential" and found["reason"] == "none" and facts.around_target.creates_credentials:
            found["offer"] = {"do": STUB, "type": found["credential_type"], "name": found["label"]}
        if found.get("offer"):
            found["offer"]["id"] = offer_id(found["offer"])


def offer_id(offer: Mapping[str, Any]) -> str:
    """What an offer is chosen by: equal for offers of the same thing."""
    return ":".join(str(offer.get(part) or "") for part in ("do", "type", "name", "table_id"))


def hosts_of(environments: Iterable[Environment], target: Environment) -> dict[str, str]:
    """Where other environments of the tenant are reached, to their names; the target's own is left out."""
    own = _host_of(target.base_url)
    found = {_host_of(e.base_url): e.name for e in environments}
    return {host: name for host, name in found.items() if host and host != own and not own.startswith(f"{host}/")}


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path.rstrip('/')}"


def scope_facts(around: Surroundings, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the key of the target lacks for a plan: ``{known, missing: [{scope, effect}]}``."""
    if around.scopes is None:
        return {"known": False, "missing": []}
    needed = {"workflow:list", "workflow:read"}
    for item in items:
        if item["action"] == "unchanged":
            continue
        needed.add(f"workflow:{item['action']}")
        was = bool(item["target"] and item["target"]["active"])
        if item["action"] == "create":
            needed.add("workflow:delete")
        if item["active"]:
            needed.add("workflow:activate")
        if was and not item["active"]:
            needed.add("workflow:deactivate")
    lacking = missing_scopes(around.scopes, needed)
    return {"known": True, "missing": [{"scope": m.scope, "effect": m.effect} for m in lacking]}
