"""Testing a workflow in its environment without running it: what it needs is looked at and tried, one by one.

n8n's API starts no workflow. What can be tried harmlessly is: whether it is there and published, its credentials (by
n8n's own test, where it has one), the workflows that it calls, its data tables, and whether n8n listens at its
webhooks. Tried is what runs: the published version, or the draft where nothing is published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from core.errors import NotFound
from tenants.scope import tenant_scope

from .calling import publishes_callees
from .content import ContentError, draft_of, is_archived, portable
from .gateway import quick_client_for
from .models import Environment, Execution, MapStatus, WorkflowEnvMap
from .n8n import N8nClient, errors
from .references import Reference, references
from .webhook_addresses import production_addresses, varies

Verdict = Literal["passed", "failed", "not_possible"]
#: A person waits for it.
SECONDS = 20.0
EXECUTIONS_SHOWN = 5
NO_START = "n8n's API starts no workflow; with run it repeats the last execution, if that has failed."


#: What is tried of the kinds of references, as people call them.
_WORDS = {"credential": "credential", "workflow": "workflow it calls", "data_table": "data table"}


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that was tried. ``what`` is the kind, ``name`` which one."""

    what: str
    name: str
    verdict: Verdict
    message: str = ""

    def row(self) -> dict[str, Any]:
        return {"check": self.what, "name": self.name, "status": self.verdict, "message": self.message}


def place_of(workflow_id: Any, environment_id: Any | None) -> WorkflowEnvMap:
    """Where a workflow is tested: in the environment asked for, else in the last one of the pipeline that has it.

    ``workflow_id`` is the workflow's or one of its places'. Needs the tenant's scope.
    """
    there = WorkflowEnvMap.objects.select_related("environment", "canonical_workflow").exclude(
        status__in=(MapStatus.DELETED, MapStatus.MISSING)
    )
    rows = there.filter(pk=workflow_id) | there.filter(canonical_workflow_id=workflow_id)
    if environment_id is not None:
        rows = rows.filter(environment_id=environment_id)
    found = rows.filter(environment__is_archived=False).order_by("-environment__position").first()
    if found is None:
        raise NotFound("The workflow is in no environment that could test it.", recovery="Choose another environment.")
    return found


def try_out(place: WorkflowEnvMap) -> list[Trial]:
    """Ask n8n now; call outside any scope. Raises ``N8nError`` where the instance cannot be asked at all."""
    with quick_client_for(place.environment) as client:
        try:
            raw = client.get_workflow(place.env_workflow_id)
        except errors.RemoteNotFound:
            return [Trial("workflow", place.env_name, "failed", "n8n has no such workflow any more.")]
        return list(_trials(client, raw, place.env_workflow_id))


def _trials(client: N8nClient, raw: Mapping[str, Any], workflow_id: str) -> Iterator[Trial]:
    name = str(raw.get("name") or "")
    try:
        content, draft = portable(raw), draft_of(raw)
    except ContentError as error:
        yield Trial("workflow", name, "not_possible", error.message)
        return
    if is_archived(raw):
        yield Trial("workflow", name, "failed", "It is archived: n8n neither runs it nor lets others call it.")
        return
    is_live = content["active"]
    yield Trial("workflow", name, "passed", _as_it_is(is_live, has_draft=draft is not None))
    yield from _Needs(client, runs=is_live).tried(content)
    for address in production_addresses(content, workflow_id) if is_live else ():
        yield _listens(client, address)


def _as_it_is(is_live: bool, *, has_draft: bool) -> str:
    if not is_live:
        return "It is there, and not published."
    return "It is published. Its draft is newer and was not tried." if has_draft else "It is published."


class _Needs:
    """Tries what a workflow refers to. ``runs``: it is published, so what it calls has to run, too."""

    def __init__(self, client: N8nClient, *, runs: bool) -> None:
        self.client = client
        self.callees_run = runs and publishes_callees(client.spec().capabilities())
        self.until = time.monotonic() + SECONDS
        self.credentials = self._ids(client.list_credentials)
        self.tables: set[str] | None = None

    def tried(self, content: Mapping[str, Any]) -> Iterator[Trial]:
        wanted = {(found.kind, found.value): found for found in references(content) if _is_tried(found)}
        if self.client.spec().can("data_tables") and any(kind == "data_table" for kind, _ in wanted):
            self.tables = self._ids(lambda: self.client.all_of("/data-tables"))
        for reference in wanted.values():
            yield self._tried(reference, reference.name or reference.value)

    def _tried(self, reference: Reference, name: str) -> Trial:
        word = _WORDS[reference.kind]
        if time.monotonic() > self.until:
            return Trial(word, name, "not_possible", "n8n took too long.")
        if reference.kind == "data_table":
            return self._table(reference, name)
        if reference.kind == "credential":
            return _credential(self.client, reference.value, name, self.credentials)
        return self._called(reference, name)

    def _table(self, reference: Reference, name: str) -> Trial:
        if self.tables is None:
            return Trial("data table", name, "not_possible", "This n8n does not list its data tables.")
        if reference.value not in self.tables:
            return Trial("data table", name, "failed", "n8n has no data table with this id.")
        return Trial("data table", name, "passed")

    def _called(self, reference: Reference, name: str) -> Trial:
        word = _WORDS[reference.kind]
        if not reference.sure:
            return Trial(word, name, "not_possible", "It may be a workflow of another n8n.")
        try:
            called = self.client.get_workflow(reference.value)
        except errors.RemoteNotFound:
            return Trial(word, name, "failed", "n8n has no workflow with this id.")
        except errors.N8nError as error:
            return Trial(word, name, "not_possible", error.message)
        name = str(called.get("name") or name)
        if is_archived(called):
            return Trial(word, name, "failed", "It is archived.")
        if self.callees_run and not called.get("active"):
            return Trial(word, name, "failed", "It is not published: n8n refuses to run it for its callers.")
        return Trial(word, name, "passed")

    @staticmethod
    def _ids(read: Callable[[], list[dict[str, Any]] | None]) -> set[str] | None:
        """The ids that the instance lists; None where it does not tell."""
        try:
            rows = read()
        except errors.N8nError:
            return None
        return None if rows is None else {str(row.get("id")) for row in rows}


def _is_tried(found: Reference) -> bool:
    return found.kind in _WORDS and found.in_use and "callerIds" not in found.path


def _credential(client: N8nClient, credential_id: str, name: str, listed: set[str] | None) -> Trial:
    if not credential_id:
        return Trial("credential", name, "failed", "The node names a credential and has none chosen.")
    if listed is not None and credential_id not in listed:
        return Trial("credential", name, "failed", "n8n has no credential with this id.")
    if not client.spec().can("test_credential"):
        known = "It is there; this n8n tests none." if listed is not None else "This n8n lists and tests none."
        return Trial("credential", name, "not_possible", known)
    try:
        body = client.call("POST", f"/credentials/{quote(credential_id, safe='')}/test").json()
    except errors.N8nError as error:
        return Trial("credential", name, "not_possible", error.message)
    return _as_tested(name, body if isinstance(body, dict) else {})


def _as_tested(name: str, body: Mapping[str, Any]) -> Trial:
    message = str(body.get("message") or "")
    if str(body.get("status") or "").upper() == "OK":
        return Trial("credential", name, "passed", message)
    untestable = "no testing function" in message.lower()
    return Trial("credential", name, "not_possible" if untestable else "failed", message)


def _listens(client: N8nClient, address: str) -> Trial:
    if varies(address):
        return Trial("webhook", address, "not_possible", "A part of its path varies: no address of it can be asked.")
    verdict: dict[str, tuple[Verdict, str]] = {
        "listening": ("passed", "n8n listens there."),
        "absent": ("failed", "Nobody listens there."),
    }
    found, message = verdict.get(client.listening(address), ("not_possible", "It cannot be seen from here."))
    return Trial("webhook", address, found, message)


def last_runs(environment: Environment, workflow_id: str) -> list[Execution]:
    """The newest executions that were read, newest first."""
    with tenant_scope(environment.tenant_id):
        rows = Execution.objects.filter(environment=environment, env_workflow_id=workflow_id)
        return list(rows.order_by("-sorted_at", "-number")[:EXECUTIONS_SHOWN])


def verdict_of(trials: list[Trial]) -> str:
    """``passed`` only where everything could be tried."""
    verdicts = {trial.verdict for trial in trials}
    return "failed" if "failed" in verdicts else "incomplete" if "not_possible" in verdicts else "passed"
