"""The credentials and data tables that the workflows of a restore need: what stands in, what is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from workflows.references import CredentialRef, Reference
from workflows.stubs import can_have

from .planning import MissingCredential, RestoreItem, RestorePlan
from .restore_documents import RestoreIssue
from .restore_target import RestoreTarget, known_by


class CredentialNeeds:
    """What the workflows of a plan need. Fills the plan's ``credentials``, ``stubs``, problems and warnings."""

    def __init__(self, plan: RestorePlan, target: RestoreTarget) -> None:
        self._plan, self._target, self._book = plan, target, target.book
        self._missing: list[tuple[RestoreItem, Reference]] = []
        self._by_name_alone: list[tuple[str, Reference]] = []
        self._to_make: list[tuple[str, Reference]] = []

    # -- one reference ------------------------------------------------------------------------------------------------

    def add_table(self, item: RestoreItem, reference: Reference) -> None:
        """A data table of another environment: the one that is mapped, or the only one of the same name."""
        by_id = (reference.credential_type, reference.value)
        named = self._book.named(reference)
        if by_id in self._book.mapped:
            self._plan.credentials[by_id] = self._book.mapped[by_id]
        elif len(named) == 1:
            self._plan.credentials[by_id] = CredentialRef(id=named[0], name=reference.name)
        elif reference.in_use:
            label = reference.name or reference.value
            message = (
                f"“{reference.node}” of “{item.name}” uses the data table “{label}”, which is not known to be here."
            )
            self._plan.warnings.append(reference_issue(item, reference, "data_table_missing", message))

    def add_used(self, item: RestoreItem, reference: Reference) -> None:
        """A credential that a node uses: mapped, there, there under another id, missing, or not known."""
        mapped = self._book.mapping_of(reference)
        if mapped is not None:
            self._use_instead(item, reference, mapped)
        elif self._target.same_environment and self._book.has_id_of(reference):
            self._hold_without_secret(item, reference, reference.value)
        elif not self._target.same_environment or self._book.listed:
            self._find_by_name(item, reference)
        else:
            kind = reference.credential_type
            message = f"n8n does not say whether the credential “{reference.name}” ({kind}) is still there."
            issue = reference_issue(item, reference, "credential_unproven", message, credential_type=kind)
            self._plan.warnings.append(issue)

    def add_unused(self, item: RestoreItem, reference: Reference) -> None:
        """n8n itself gives a lost reference the only credential of its type and name; so that is what is written."""
        if not self._book.listed or self._book.has_id_of(reference):
            return
        named = self._book.named(reference)
        if len(named) == 1:
            self._plan.credentials[known_by(reference)] = CredentialRef(id=named[0], name=reference.name)
        elif not named:
            self._by_name_alone.append((item.key, reference))

    def _find_by_name(self, item: RestoreItem, reference: Reference) -> None:
        named = self._book.named(reference)
        if len(named) != 1:
            self._missing.append((item, reference))
            return
        is_new = known_by(reference) not in self._plan.credentials
        self._use_instead(item, reference, CredentialRef(id=named[0], name=reference.name))
        if is_new and self._target.same_environment and reference.value:
            message = f"The credential “{reference.name}” has another id now; the one of the same name is used."
            kind = reference.credential_type
            issue = reference_issue(item, reference, "credential_by_name", message, credential_type=kind)
            self._plan.warnings.append(issue)

    def _use_instead(self, item: RestoreItem, reference: Reference, ref: CredentialRef) -> None:
        self._plan.credentials[known_by(reference)] = ref
        self._hold_without_secret(item, reference, ref.id)

    def _hold_without_secret(self, item: RestoreItem, reference: Reference, credential_id: str) -> None:
        if (reference.credential_type, credential_id) in self._book.unready:
            self._hold(item, f"It stays unpublished until the secret of “{reference.name}” is entered in n8n.")

    def _hold(self, item: RestoreItem, why: str) -> None:
        if item.entry.active and not self._plan.options.skip_validation:
            self._plan.change(item.key, held=why)

    # -- those that are missing ---------------------------------------------------------------------------------------

    def decide_missing(self) -> None:
        """Missing credentials: to be made without their secrets, where that was chosen and can be done."""
        chosen = self._plan.options.stubs and self._target.creates_credentials
        kinds = sorted({reference.credential_type for _, reference in self._missing})
        lacking = set(self._target.lacks(kinds)) if chosen else set()
        for item, reference in self._missing:
            lacks = reference.credential_type in lacking
            if chosen and reference.name and not lacks:
                self._make_stub(item, reference)
            else:
                self._name_missing(item, reference, chosen=chosen, lacks=lacks)
        if chosen:
            self._to_make = [(item.key, r) for item, r in self._missing if r.credential_type not in lacking]

    def _make_stub(self, item: RestoreItem, reference: Reference) -> None:
        message = f"{_need(item, reference)}: it is made without its secret, which is entered in n8n."
        kind = reference.credential_type
        self._plan.warnings.append(reference_issue(item, reference, "credential_stub", message, credential_type=kind))
        self._hold(item, f"It stays unpublished until the secret of “{reference.name}” is entered in n8n.")

    def _name_missing(self, item: RestoreItem, reference: Reference, *, chosen: bool, lacks: bool) -> None:
        why = ", of a type that this n8n does not have." if lacks else ", which is missing."
        kind, message = reference.credential_type, f"{_need(item, reference)}{why}"
        issue = reference_issue(item, reference, "credential_missing", message, credential_type=kind)
        (self._plan.warnings if chosen else self._plan.problems).append(issue)
        if chosen:
            self._hold(item, f"It stays unpublished: the credential “{reference.name}” ({kind}) is missing.")

    def settle_stubs(self) -> None:
        """Settle which stubs are needed by what is written: under the lost id, where it is free and can be had."""
        written = {item.key for item in self._plan.to_write}
        stubs = self._stubs_by_id([r for key, r in self._to_make if key in written and r.name])
        for key, reference in [*self._to_make, *self._by_name_alone]:
            if key in written and known_by(reference) not in stubs:
                _mean_the_same(stubs, reference)
        self._plan.stubs = sorted(stubs.values(), key=lambda stub: (stub.type, stub.name, stub.known_by))

    def _stubs_by_id(self, needed: Iterable[Reference]) -> dict[tuple[str, str], MissingCredential]:
        taken = {credential_id for _, credential_id in self._book.ids}
        stubs: dict[tuple[str, str], MissingCredential] = {}
        for reference in sorted(needed, key=lambda r: not r.value):
            name = known_by(reference)
            if name in stubs or (not reference.value and _only(stubs.values(), reference)):
                continue
            keeps_id = self._can_keep_id(reference) and reference.value not in taken
            taken.add(reference.value)
            stubs[name] = MissingCredential(reference.credential_type, reference.name, name[1], keeps_id)
        return stubs

    def _can_keep_id(self, reference: Reference) -> bool:
        return self._target.same_environment and self._target.chooses_ids and can_have(reference.value)


def _mean_the_same(stubs: dict[tuple[str, str], MissingCredential], reference: Reference) -> None:
    """Let what is known by another id or by its name alone mean the only stub of its type and name."""
    stub, name = _only(stubs.values(), reference), known_by(reference)[1]
    if stub is not None and name not in stub.also:
        stubs[stub.type, stub.known_by] = replace(stub, also=(*stub.also, name))


def _only(stubs: Iterable[MissingCredential], reference: Reference) -> MissingCredential | None:
    """The stub that a type and a name alone lead to, if there is one and only one."""
    alike = [stub for stub in stubs if (stub.type, stub.name) == (reference.credential_type, reference.name)]
    return alike[0] if len(alike) == 1 else None


def _need(item: RestoreItem, reference: Reference) -> str:
    kind = reference.credential_type
    return f"“{reference.node}” of “{item.name}” needs the credential “{reference.name}” ({kind})"


def reference_issue(item: RestoreItem, reference: Reference, code: str, message: str, **more: Any) -> RestoreIssue:
    """A problem or a warning about one reference of a workflow."""
    return RestoreIssue(
        code=code,
        key=item.key,
        message=message,
        workflow_name=item.name,
        node=reference.node,
        path=reference.path,
        value=reference.value,
        name=reference.name,
        **more,
    )
