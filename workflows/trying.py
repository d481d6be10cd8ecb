"""Testing a workflow in its environment without running it: what it needs is looked at and tried, one by one.

n8n's API starts no workflow. What can be tried harmlessly is: whether it is there and published, its credentials (by
n8n's own test, where it has one), the workflows that it calls, and whether n8n listens at its webhooks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from core.errors import NotFound
from tenants.scope import tenant_scope

from .gateway import quick_client_for
from .models import Environment, Execution, MapStatus, WorkflowEnvMap
from .n8n import N8nClient, errors
from .references import Reference, references
from .webhook_addresses import webhook_address

Verdict = Literal["passed", "failed", "not_possible"]
#: A person waits for it.
SECONDS = 20.0
EXECUTIONS_SHOWN = 5
NO_START = "n8n's API starts no workflow; with run it repeats the last execution, if that has failed."


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
            content = client.get_workflow(place.env_workflow_id)
        except errors.RemoteNotFound:
            return [Trial("workflow", place.env_name, "failed", "n8n has no such workflow any more.")]
        until = time.monotonic() + SECONDS
        return list(_trials(client, content, until))


def _trials(client: N8nClient, content: Mapping[str, Any], until: float) -> Iterator[Trial]:
    is_live = bool(content.get("active"))
    name = str(content.get("name") or "")
    yield Trial("workflow", name, "passed", "It is published." if is_live else "It is there, and switched off.")
    yield from _references_tried(client, content, until)
    if is_live:
        addresses = filter(None, map(webhook_address, content.get("nodes") or ()))
        yield from (_listens(client, address) for address in addresses)


def _references_tried(client: N8nClient, content: Mapping[str, Any], until: float) -> Iterator[Trial]:
    used = [found for found in references(content) if found.in_use and "callerIds" not in found.path]
    listed = _listed(client)
    for reference in {(found.kind, found.value): found for found in used}.values():
        if reference.kind in ("credential", "workflow"):
            late = time.monotonic() > until
            yield _late(reference) if late else _resolved(client, reference, listed)


def _late(reference: Reference) -> Trial:
    return Trial(reference.kind, reference.name or reference.value, "not_possible", "n8n took too long.")


def _listed(client: N8nClient) -> set[str] | None:
    """The credentials that the instance has; None where it does not tell."""
    try:
        rows = client.list_credentials()
    except errors.N8nError:
        return None
    return None if rows is None else {str(row.get("id")) for row in rows}


def _resolved(client: N8nClient, reference: Reference, listed: set[str] | None) -> Trial:
    name = reference.name or reference.value
    if reference.kind == "credential":
        return _credential(client, reference.value, name, listed)
    try:
        called = client.get_workflow(reference.value)
    except errors.RemoteNotFound:
        return Trial("workflow it calls", name, "failed", "n8n has no workflow with this id.")
    except errors.N8nError as error:
        return Trial("workflow it calls", name, "not_possible", error.message)
    return Trial("workflow it calls", str(called.get("name") or name), "passed")


def _credential(client: N8nClient, credential_id: str, name: str, listed: set[str] | None) -> Trial:
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
