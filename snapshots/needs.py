"""What the workflows of a restore need: that n8n takes them, their credentials, what they call. Pure.

What is lacking is a problem, which stops the restore; or, where the person chose so, a stub, a repair, or a workflow
that is left out. A workflow that could not run is brought back unpublished (*held*), and whatever calls it too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workflows.calling import can_be_active
from workflows.content import fingerprint
from workflows.references import CredentialRef, Reference, references, rewrite
from workflows.structure import StructureFault, repaired, structure_faults
from workflows.stubs import can_have

from .errors import SnapshotUnreadable
from .keeping import cannot_keep, keep, must_run_on
from .planning import Current, Lost, Plan, Planned, check_webhooks

Load = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class CredentialBook:
    """The credentials of the target. ``listed``: n8n itself gave the list, so what is not in it does not exist.

    ``unready`` are stubs whose secret is missing.
    """

    ids: frozenset[tuple[str, str]]
    by_name: Mapping[tuple[str, str], tuple[str, ...]]
    listed: bool
    mapped: Mapping[tuple[str, str], CredentialRef] = field(default_factory=dict)
    unready: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of where the workflows go.

    ``origin`` maps ids in the contents to keys, ``current`` is what lives there now. ``lacks`` names those of some
    types of credential that this n8n does not have; it is asked only where stubs were chosen. ``publishes_callees``:
    a called workflow runs there only where it is published.
    """

    origin: Mapping[str, str]
    current: Mapping[str, Current]
    book: CredentialBook
    same_environment: bool
    checks_structure: bool = False
    creates_credentials: bool = False
    chooses_ids: bool = False
    publishes_callees: bool = False
    lacks: Callable[[Collection[str]], Collection[str]] = lambda _kinds: ()


def check_needs(plan: Plan, *, load: Load, load_draft: Callable[[str], Mapping[str, Any] | None], to: Target) -> None:
    """Add to the plan what is lacking; fill ``credentials`` with what stands in, ``stubs``, ``held``."""
    looking = _Looking(plan, to)
    for item in plan.to_write:
        try:
            content = load(item.key)
        except LookupError:
            message = f"The content of “{item.label}” cannot be read."
            plan.problems.append({"code": "content_missing", "key": item.key, "message": message})
            continue
        looking.structure(item, content, load_draft(item.key))
        looking.references(item, content)
        looking.already_there(item, content)
    looking.stubs()
    looking.calls()
    looking.name_what_could_not_run_on(load)
    if plan.options.leave_out:
        looking.leave_out()
    looking.make()
    looking.hold_callers()
    looking.keep_called(load)


class _Looking:
    """One look at the contents of a plan."""

    def __init__(self, plan: Plan, to: Target) -> None:
        self.plan, self.to = plan, to
        self._missing: list[tuple[Planned, Reference]] = []
        self._by_name_alone: list[tuple[str, Reference]] = []
        self._to_make: list[tuple[str, Reference]] = []
        self._calls: dict[str, list[Reference]] = defaultdict(list)

    # -- what n8n takes -----------------------------------------------------------------------------------------------

    def structure(self, item: Planned, content: Mapping[str, Any], draft: Mapping[str, Any] | None) -> None:
        """What n8n would refuse to store; looked at before a single write."""
        if not self.to.checks_structure:
            return
        found = [(fault, "") for fault in structure_faults(content) if not _is_old_name(fault, item)]
        found += [(f, "In its draft: ") for f in structure_faults(draft or {"name": "-"}) if not _is_old_name(f, item)]
        for fault, of_what in found:
            told = {"key": item.key, "workflow_name": item.name, "node": fault.node, "fault": fault.code}
            if fault.repairable and self.plan.options.repair:
                message = f"{of_what}{fault.message} {fault.repair} Otherwise {fault.consequence}"
                self.plan.warnings.append({"code": "repaired", "message": message, **told})
            else:
                way_out = f" “Repair” mends it: {fault.repair}" if fault.repairable else ""
                message = f"{of_what}{fault.message} {fault.consequence}{way_out}"
                self.plan.problems.append(
                    {"code": "structure", "message": message, "repairable": fault.repairable, **told}
                )

    # -- what they refer to -------------------------------------------------------------------------------------------

    def references(self, item: Planned, content: Mapping[str, Any]) -> None:
        for reference in references(content):
            if reference.kind == "workflow":
                self._calls[item.key].append(reference)
            elif reference.kind == "credential" and reference.in_use:
                self._credential(item, reference)
            elif reference.kind == "credential":
                self._unused(item, reference)
            elif reference.kind == "data_table" and not self.to.same_environment:
                self._table(item, reference)

    def already_there(self, item: Planned, content: Mapping[str, Any]) -> None:
        """Restored before, mended or with another credential in place of a lost one: nothing is left to do."""
        there = item.current
        if there is None or not self._now(item).only_content_differs:
            return
        stand_ins = {
            known: self.plan.credentials[known]
            for r in references(content)
            if (known := _known_by(r)) in self.plan.credentials
        }
        mended = repaired(content) if self.plan.options.repair else content
        written = rewrite(mended, workflow_ids={}, credentials=stand_ins).content
        if fingerprint(written).content_hash(self.to.origin) == there.content_hash:
            self.plan.change(item.key, action="unchanged")

    def _now(self, item: Planned) -> Planned:
        return next(one for one in self.plan.items if one.key == item.key)

    def _table(self, item: Planned, reference: Reference) -> None:
        """A data table of another environment: the one that is mapped, or the only one of the same name."""
        plan, book = self.plan, self.to.book
        by_id = (reference.credential_type, reference.value)
        named = book.by_name.get((reference.credential_type, reference.name), ())
        if by_id in book.mapped:
            plan.credentials[by_id] = book.mapped[by_id]
        elif len(named) == 1:
            plan.credentials[by_id] = CredentialRef(id=named[0], name=reference.name)
        elif reference.in_use:
            label = reference.name or reference.value
            message = (
                f"“{reference.node}” of “{item.name}” uses the data table “{label}”, which is not known to be here."
            )
            plan.warnings.append(_told(item, reference, "data_table_missing", message))

    def _credential(self, item: Planned, reference: Reference) -> None:
        plan, book, same = self.plan, self.to.book, self.to.same_environment
        kind, by_id = reference.credential_type, _known_by(reference)
        mapped = book.mapped.get((kind, reference.value)) or book.mapped.get((kind, reference.name))
        if mapped is not None:
            self._stands_in(item, reference, mapped)
            return
        if same and (kind, reference.value) in book.ids:
            self._unready(item, reference, reference.value)
            return
        named = book.by_name.get((kind, reference.name), ())
        if len(named) == 1 and (book.listed or not same):
            known = by_id in plan.credentials
            self._stands_in(item, reference, CredentialRef(id=named[0], name=reference.name))
            if same and reference.value and not known:
                message = f"The credential “{reference.name}” has another id now; the one of the same name is used."
                plan.warnings.append(_told(item, reference, "credential_by_name", message, credential_type=kind))
            return
        if book.listed or not same:
            self._missing.append((item, reference))
            return
        message = f"n8n does not say whether the credential “{reference.name}” ({kind}) is still there."
        plan.warnings.append(_told(item, reference, "credential_unproven", message, credential_type=kind))

    def _unused(self, item: Planned, reference: Reference) -> None:
        """n8n itself gives a lost reference the only credential of its type and name; so that is what is written."""
        kind, book = reference.credential_type, self.to.book
        if not book.listed or (kind, reference.value) in book.ids:
            return
        named = book.by_name.get((kind, reference.name), ())
        if len(named) == 1:
            self.plan.credentials[_known_by(reference)] = CredentialRef(id=named[0], name=reference.name)
        elif not named:
            self._by_name_alone.append((item.key, reference))

    def _stands_in(self, item: Planned, reference: Reference, ref: CredentialRef) -> None:
        self.plan.credentials[_known_by(reference)] = ref
        self._unready(item, reference, ref.id)

    def _unready(self, item: Planned, reference: Reference, ident: str) -> None:
        if (reference.credential_type, ident) in self.to.book.unready:
            self._hold(item, f"It stays unpublished until the secret of “{reference.name}” is entered in n8n.")

    def _hold(self, item: Planned, why: str) -> None:
        if item.entry.get("active") and not self.plan.options.skip_validation:
            self.plan.change(item.key, held=why)

    def stubs(self) -> None:
        """Missing credentials: to be made without their secrets, where that was chosen and can be done."""
        plan = self.plan
        chosen = plan.options.stubs and self.to.creates_credentials
        lacks = set(self.to.lacks(sorted({r.credential_type for _, r in self._missing}))) if chosen else set()
        for item, reference in self._missing:
            kind, name = reference.credential_type, reference.name
            needs = f"“{reference.node}” of “{item.name}” needs the credential “{name}” ({kind})"
            if chosen and name and kind not in lacks:
                message = f"{needs}: it is made without its secret, which is entered in n8n."
                plan.warnings.append(_told(item, reference, "credential_stub", message, credential_type=kind))
                self._hold(item, f"It stays unpublished until the secret of “{name}” is entered in n8n.")
            else:
                why = ", of a type that this n8n does not have." if kind in lacks else ", which is missing."
                told = _told(item, reference, "credential_missing", f"{needs}{why}", credential_type=kind)
                (plan.warnings if chosen else plan.problems).append(told)
                if chosen:
                    self._hold(item, f"It stays unpublished: the credential “{name}” ({kind}) is missing.")
        self._to_make = [(item.key, r) for item, r in self._missing if chosen and r.credential_type not in lacks]

    def make(self) -> None:
        """Settle which stubs are needed by what is written: under the lost id, where it is free and can be had."""
        written = {item.key for item in self.plan.to_write}
        taken = {ident for _, ident in self.to.book.ids}
        needed = [r for key, r in self._to_make if key in written and r.name]
        found: dict[tuple[str, str], Lost] = {}
        for reference in sorted(needed, key=lambda r: not r.value):
            known_by, kind = _known_by(reference), reference.credential_type
            if known_by in found or (not reference.value and _only(found.values(), reference)):
                continue
            keeps = self.to.same_environment and self.to.chooses_ids and can_have(reference.value)
            keeps = keeps and reference.value not in taken
            taken.add(reference.value)
            found[known_by] = Lost(kind, reference.name, known_by[1], keeps)
        for key, reference in [*self._to_make, *self._by_name_alone]:
            known_by, lost = _known_by(reference), _only(found.values(), reference)
            if key in written and known_by not in found and lost is not None and known_by[1] not in lost.also:
                found[lost.type, lost.known_by] = replace(lost, also=(*lost.also, known_by[1]))
        self.plan.stubs = sorted(found.values(), key=lambda lost: (lost.type, lost.name, lost.known_by))

    def calls(self) -> None:
        """Calls that would lead nowhere."""
        there = self._will_be_there()
        for item in self.plan.to_write:
            for reference in self._calls[item.key]:
                self._call(item, reference, there)

    def _call(self, item: Planned, reference: Reference, there: Collection[str]) -> None:
        key = self.to.origin.get(reference.value)
        where = f"“{reference.node}” of “{item.name}”" if reference.node else f"a setting of “{item.name}”"
        if key is None:
            message = f"{where} calls a workflow that was missing already when the snapshot was taken."
            self.plan.warnings.append(_told(item, reference, "workflow_was_missing", message))
        elif key not in there:
            message = f"{where} calls “{key}”, which is not in the environment and is not being restored."
            self.plan.problems.append(_told(item, reference, "workflow_missing", message, needs=key))

    def _will_be_there(self) -> set[str]:
        return {*self.to.current} - {c.key for c in self.plan.to_delete} | {i.key for i in self.plan.of("new")}

    # -- what cannot be restored --------------------------------------------------------------------------------------

    def leave_out(self) -> None:
        """Leave out what has a problem, then what would call it in vain, and so on."""
        plan = self.plan
        while found := self._stopped():
            for key, reasons in found.items():
                plan.change(key, action="left_out", held="", why=tuple(dict.fromkeys(reasons)))
            plan.problems = [p for p in plan.problems if not found.keys() & _keys_of(p)]
            plan.warnings = [w for w in plan.warnings if w.get("key") not in found]
            there = self._will_be_there()
            for item in plan.to_write:
                for reference in self._calls[item.key]:
                    if self.to.origin.get(reference.value) in found:
                        self._call(item, reference, there)

    def _stopped(self) -> dict[str, list[str]]:
        """By key, why a workflow cannot be restored."""
        if any(p["code"] == SnapshotUnreadable.code for p in self.plan.problems):
            return {}
        found: dict[str, list[str]] = {}
        written = {item.key for item in self.plan.to_write}
        for problem in self.plan.problems:
            for key in _keys_of(problem):
                if key in written:
                    found.setdefault(key, []).append(str(problem["message"]))
        return found

    def hold_callers(self) -> None:
        """n8n publishes nothing that calls what is not published."""
        waiting = set(self.plan.held)
        while waiting:
            held, waiting = waiting, set()
            for item in self.plan.to_write:
                called = {self.to.origin.get(r.value) for r in self._calls[item.key] if r.node and r.in_use}
                names = sorted(other.label for other in self.plan.items if other.key in called & held)
                if names and not item.held and item.entry.get("active"):
                    self.plan.change(item.key, held=f"It stays unpublished as long as “{names[0]}”, which it calls.")
                    waiting.add(item.key)
        for item in self.plan.to_write:
            if item.held and item.is_done:
                self.plan.change(item.key, action="unchanged")

    # -- what others call ---------------------------------------------------------------------------------------------

    def name_what_could_not_run_on(self, load: Load) -> bool:
        """What runs, is called and could not run as it was then: a person must decide. Whether there is any."""
        known = {p["key"] for p in self.plan.problems if p["code"] == "called_would_stop"}
        found = []
        for key, names in self._must_run_on().items():
            item = next((one for one in self.plan.to_write if one.key == key), None)
            if item is not None and key not in known and not self._can_run(item, load):
                found.append(cannot_keep(item, names))
        self.plan.problems += found
        return bool(found)

    def keep_called(self, load: Load) -> None:
        """Keep published what something that runs on calls."""
        if self.name_what_could_not_run_on(load) and self.plan.options.leave_out:
            self.leave_out()
            self.make()
        stopped = {p["key"] for p in self.plan.problems if p["code"] == "called_would_stop"}
        kept = {key: names for key, names in self._must_run_on().items() if key not in stopped}
        for key, names in kept.items():
            keep(self.plan, key, names)
        if kept:
            check_webhooks(self.plan, self.to.current)

    def _must_run_on(self) -> dict[str, list[str]]:
        return must_run_on(self.plan, self.to.current, self.to.origin) if self.to.publishes_callees else {}

    def _can_run(self, item: Planned, load: Load) -> bool:
        try:
            return not item.held and can_be_active(load(item.key), called_count=True)
        except LookupError:
            return True  # that it cannot be read is a problem of its own


def _only(stubs: Iterable[Lost], reference: Reference) -> Lost | None:
    """The stub that a type and a name alone lead to, if there is one and only one."""
    alike = [lost for lost in stubs if (lost.type, lost.name) == (reference.credential_type, reference.name)]
    return alike[0] if len(alike) == 1 else None


def _keys_of(problem: Mapping[str, Any]) -> set[str]:
    return {str(problem.get("key") or ""), *map(str, problem.get("keys") or ())}


def _is_old_name(fault: StructureFault, item: Planned) -> bool:
    """A workflow that is there already may have lost its name."""
    return fault.code == "name_length" and not item.name and item.current is not None


def _known_by(reference: Reference) -> tuple[str, str]:
    """How ``rewrite`` finds it: by its id, or by its name where an old n8n kept no id."""
    return reference.credential_type, reference.value or reference.name


def _told(item: Planned, reference: Reference, code: str, message: str, **more: Any) -> dict[str, Any]:
    return {
        "code": code,
        "key": item.key,
        "workflow_name": item.name,
        "node": reference.node,
        "path": reference.path,
        "value": reference.value,
        "name": reference.name,
        "message": message,
        **more,
    }
