"""What the workflows of a restore need: that n8n takes them, their credentials, what they call. Pure.

What is lacking is a problem, which stops the restore; or, where the person chose so, a stub, a repair, or a workflow
that is left out. A workflow that could not run is brought back unpublished (*held*), and whatever calls it too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from workflows.calling import can_be_active
from workflows.content import fingerprint
from workflows.references import Reference, references, rewrite
from workflows.structure import StructureFault, repaired, structure_faults

from .credential_needs import CredentialNeeds, reference_issue
from .errors import SnapshotUnreadable
from .keeping import cannot_keep, keep, must_run_on
from .planning import RestoreItem, RestorePlan, check_webhooks
from .restore_documents import RestoreIssue
from .restore_target import RestoreTarget, known_by

Load = Callable[[str], Mapping[str, Any]]
"""The content of a workflow by its key; raises ``LookupError`` where it cannot be read."""
LoadDraft = Callable[[str], Mapping[str, Any] | None]
CALLED_WOULD_STOP = "called_would_stop"


def check_needs(plan: RestorePlan, *, load: Load, load_draft: LoadDraft, target: RestoreTarget) -> None:
    """Add to the plan what is lacking; fill ``credentials`` with what stands in, ``stubs``, ``held``."""
    check = _NeedsCheck(plan, target)
    for item in plan.to_write:
        try:
            content = load(item.key)
        except LookupError:
            message = f"The content of “{item.label}” cannot be read."
            plan.problems.append(RestoreIssue(code="content_missing", key=item.key, message=message))
            continue
        check.structure(item, content, load_draft(item.key))
        check.references(item, content)
        check.already_there(item, content)
    check.credentials.decide_missing()
    check.calls()
    check.name_what_could_not_run_on(load)
    if plan.options.leave_out:
        check.leave_out()
    check.credentials.settle_stubs()
    check.hold_callers()
    check.keep_called(load)


class _NeedsCheck:
    """One look at the contents of a plan."""

    def __init__(self, plan: RestorePlan, target: RestoreTarget) -> None:
        self.plan, self.target = plan, target
        self.credentials = CredentialNeeds(plan, target)
        self._calls: dict[str, list[Reference]] = defaultdict(list)

    # -- what n8n takes -----------------------------------------------------------------------------------------------

    def structure(self, item: RestoreItem, content: Mapping[str, Any], draft: Mapping[str, Any] | None) -> None:
        """What n8n would refuse to store; looked at before a single write."""
        if not self.target.checks_structure:
            return
        for where, workflow in (("", content), ("In its draft: ", draft)):
            faults = structure_faults(workflow) if workflow is not None else ()
            for fault in faults:
                if not _is_old_name(fault, item):
                    self._note_fault(item, fault, where)

    def _note_fault(self, item: RestoreItem, fault: StructureFault, where: str) -> None:
        issue = partial(RestoreIssue, key=item.key, workflow_name=item.name, node=fault.node, fault=fault.code)
        if fault.repairable and self.plan.options.repair:
            message = f"{where}{fault.message} {fault.repair} Otherwise {fault.consequence}"
            self.plan.warnings.append(issue(code="repaired", message=message))
            return
        way_out = f" “Repair” mends it: {fault.repair}" if fault.repairable else ""
        message = f"{where}{fault.message} {fault.consequence}{way_out}"
        self.plan.problems.append(issue(code="structure", message=message, repairable=fault.repairable))

    # -- what they refer to -------------------------------------------------------------------------------------------

    def references(self, item: RestoreItem, content: Mapping[str, Any]) -> None:
        for reference in references(content):
            if reference.kind == "workflow":
                self._calls[item.key].append(reference)
            elif reference.kind == "credential" and reference.in_use:
                self.credentials.add_used(item, reference)
            elif reference.kind == "credential":
                self.credentials.add_unused(item, reference)
            elif reference.kind == "data_table" and not self.target.same_environment:
                self.credentials.add_table(item, reference)

    def already_there(self, item: RestoreItem, content: Mapping[str, Any]) -> None:
        """Restored before, mended or with another credential in place of a lost one: nothing is left to do."""
        now = self.plan.item(item.key)
        if item.current is None or now is None or not now.only_content_differs:
            return
        stand_ins = {
            name: self.plan.credentials[name]
            for reference in references(content)
            if (name := known_by(reference)) in self.plan.credentials
        }
        mended = repaired(content) if self.plan.options.repair else content
        written = rewrite(mended, workflow_ids={}, credentials=stand_ins).content
        if fingerprint(written).content_hash(self.target.origin) == item.current.content_hash:
            self.plan.change(item.key, action="unchanged")

    def calls(self) -> None:
        """Calls that would lead nowhere."""
        there = self._will_be_there()
        for item in self.plan.to_write:
            for reference in self._calls[item.key]:
                self._call(item, reference, there)

    def _call(self, item: RestoreItem, reference: Reference, there: Collection[str]) -> None:
        key = self.target.origin.get(reference.value)
        where = f"“{reference.node}” of “{item.name}”" if reference.node else f"a setting of “{item.name}”"
        if key is None:
            message = f"{where} calls a workflow that was missing already when the snapshot was taken."
            self.plan.warnings.append(reference_issue(item, reference, "workflow_was_missing", message))
        elif key not in there:
            message = f"{where} calls “{key}”, which is not in the environment and is not being restored."
            self.plan.problems.append(reference_issue(item, reference, "workflow_missing", message, needs=key))

    def _will_be_there(self) -> set[str]:
        deleted = {c.key for c in self.plan.to_delete}
        return {*self.target.current} - deleted | {item.key for item in self.plan.of("new")}

    # -- what cannot be restored --------------------------------------------------------------------------------------

    def leave_out(self) -> None:
        """Leave out what has a problem, then what would call it in vain, and so on."""
        plan = self.plan
        while stopped := self._stopped():
            for key, reasons in stopped.items():
                plan.change(key, action="left_out", held="", why=tuple(dict.fromkeys(reasons)))
            plan.problems = [p for p in plan.problems if not stopped.keys() & p.concerned]
            plan.warnings = [w for w in plan.warnings if w.key not in stopped]
            there = self._will_be_there()
            for item in plan.to_write:
                for reference in self._calls[item.key]:
                    if self.target.origin.get(reference.value) in stopped:
                        self._call(item, reference, there)

    def _stopped(self) -> dict[str, list[str]]:
        """By key, why a workflow cannot be restored."""
        if any(problem.code == SnapshotUnreadable.code for problem in self.plan.problems):
            return {}
        found: dict[str, list[str]] = {}
        written = {item.key for item in self.plan.to_write}
        for problem in self.plan.problems:
            for key in problem.concerned & written:
                found.setdefault(key, []).append(problem.message)
        return found

    # -- what has to wait ---------------------------------------------------------------------------------------------

    def hold_callers(self) -> None:
        """n8n publishes nothing that calls what is not published."""
        waiting = set(self.plan.held)
        while waiting:
            waiting = self._hold_callers_of(waiting)
        for item in self.plan.to_write:
            if item.held and item.is_done:
                self.plan.change(item.key, action="unchanged")

    def _hold_callers_of(self, held: Collection[str]) -> set[str]:
        """Hold what calls one of ``held``; the keys of those that were not held before."""
        found = set()
        labels = {item.key: item.label for item in self.plan.items if item.key in held}
        for item in self.plan.to_write:
            called = {self.target.origin.get(r.value) for r in self._calls[item.key] if r.node and r.in_use}
            names = sorted(label for key, label in labels.items() if key in called)
            if names and not item.held and item.entry.active:
                self.plan.change(item.key, held=f"It stays unpublished as long as “{names[0]}”, which it calls.")
                found.add(item.key)
        return found

    # -- what others call ---------------------------------------------------------------------------------------------

    def name_what_could_not_run_on(self, load: Load) -> bool:
        """What runs, is called and could not run as it was then: a person must decide. Whether there is any."""
        known = {problem.key for problem in self.plan.problems if problem.code == CALLED_WOULD_STOP}
        to_write = {item.key: item for item in self.plan.to_write}
        found = [
            cannot_keep(to_write[key], names)
            for key, names in self._must_run_on().items()
            if key in to_write and key not in known and not _can_run(to_write[key], load)
        ]
        self.plan.problems += found
        return bool(found)

    def keep_called(self, load: Load) -> None:
        """Keep published what something that runs on calls."""
        if self.name_what_could_not_run_on(load) and self.plan.options.leave_out:
            self.leave_out()
            self.credentials.settle_stubs()
        stopped = {problem.key for problem in self.plan.problems if problem.code == CALLED_WOULD_STOP}
        kept = {key: names for key, names in self._must_run_on().items() if key not in stopped}
        for key, names in kept.items():
            keep(self.plan, key, names)
        if kept:
            check_webhooks(self.plan, self.target.current)

    def _must_run_on(self) -> dict[str, list[str]]:
        if not self.target.publishes_callees:
            return {}
        return must_run_on(self.plan, self.target.current, self.target.origin)


def _can_run(item: RestoreItem, load: Load) -> bool:
    try:
        return not item.held and can_be_active(load(item.key), called_count=True)
    except LookupError:
        return True  # that it cannot be read is a problem of its own


def _is_old_name(fault: StructureFault, item: RestoreItem) -> bool:
    """A workflow that is there already may have lost its name."""
    return fault.code == "name_length" and not item.name and item.current is not None
