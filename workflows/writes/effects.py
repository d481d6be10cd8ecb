"""Writes and switches as effects: the intent is committed before, the result after, and what is there can be probed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.errors import OpsError
from operations.effects import Effect, ExternalCall, ObjectWrite, ProbeResult
from operations.errors import UnknownOutcome

from .items import WriteItem, Written
from .publishing import Archiver, DraftKeeper, Publisher
from .target import WriteTarget
from .writer import Writer

if TYPE_CHECKING:
    from workflows.models import Environment

_METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}
_WRITES = {"create": "CREATE", "update": "UPDATE", "delete": "DELETE"}


def write_effects(
    target: WriteTarget, items: Sequence[WriteItem], *, listed: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Effect]:
    """One effect per item, ``<prefix>:write:<key>``; its result is a ``Written`` as JSON.

    ``listed`` are workflows by id as n8n's list has just shown them. Use ``perform``: it adds the order, the second
    write for circles, and the publishing.
    """
    listed = listed or {}
    return [write_effect(target, item, listed=listed.get(item.env_workflow_id or "")) for item in items]


def write_effect(target: WriteTarget, item: WriteItem, *, listed: Mapping[str, Any] | None = None) -> Effect:
    """The write of one item's content."""
    writer = Writer(target.client, item, target.resolver, listed=listed)
    intent = {
        "action": item.action,
        "key": item.key,
        "env_workflow_id": item.env_workflow_id,
        "expected_hash": item.expected_hash,
        "wanted_hash": item.wanted_hash,
        "active": item.active,
        "marker": f"{target.prefix}:{item.key}",
    }
    path = f"/workflows/{item.env_workflow_id}" if item.env_workflow_id and item.action != "create" else "/workflows"
    call = to_n8n(
        target.environment,
        item.key,
        item.name,
        method=_METHODS[item.action],
        path=path,
        hash_before=item.expected_hash,
        hash_wanted=item.wanted_hash,
    )
    sent = {"name": item.name, "content_hash": item.wanted_hash, "active": item.active, "archived": item.archived}
    call = _of_workflow(call, target, item, _WRITES[item.action], sent)
    act = _act(target, item, writer, intent)
    return Effect(f"{target.prefix}:write:{item.key}", item.title, intent, act, writer.look, call)


def to_n8n(
    environment: Environment, key: str, name: str, *, method: str, path: str, **hashes: str | None
) -> ExternalCall:
    """What the trail says of a write to an environment's n8n: the call and the hashes, no content."""
    facts = {"method": method, "path": path, "key": key, **{k: v for k, v in hashes.items() if v}}
    return ExternalCall("n8n", "environments", environment.pk, f"{environment.name}: {name or key}", facts)


def _of_workflow(
    call: ExternalCall, target: WriteTarget, item: WriteItem, action: str, sent: Mapping[str, Any]
) -> ExternalCall:
    """The call, told as a write of the workflow as well: that is where a runbook looks for what was changed."""
    asked = {name: value for name, value in sent.items() if value is not None} if action != "DELETE" else {}
    return replace(call, write=ObjectWrite(action, "workflows", target.workflow_ids.get(item.key), asked))


_Actor = Publisher | Writer | DraftKeeper | Archiver


def _act(target: WriteTarget, item: WriteItem, actor: _Actor, intent: dict[str, Any]) -> Callable[[], Any]:
    """What carries the effect out; in a tolerant target a failure becomes a result."""

    def tolerant() -> Any:
        try:
            return actor.act()
        except UnknownOutcome:
            raise
        except OpsError as error:
            return _result_of_ambiguous(actor, intent, error) or _failed(item, error)

    return tolerant if target.tolerant else actor.act


def _result_of_ambiguous(actor: _Actor, intent: dict[str, Any], error: OpsError) -> Any:
    """The result where a write of unknown outcome took place after all; re-raises while nobody knows."""
    if not getattr(error, "ambiguous", False):
        return None
    probe: ProbeResult = actor.look(intent)
    if probe.state == "unknown":
        raise error
    return probe.result if probe.state == "done" else None


def _failed(item: WriteItem, error: OpsError) -> dict[str, Any]:
    return Written(item.key, item.name, "failed", item.env_workflow_id or "", error=error.to_dict()).to_json()


# -- what follows once the content is written -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FollowUp:
    """A later step of an item. ``verb`` ends the path of its POST; without one it is a PUT."""

    name: str
    title: str
    verb: str = ""


def publishing(target: WriteTarget, item: WriteItem, written: Written) -> Effect:
    """Let the new content run: ``<prefix>:activate:<key>``."""
    verb = "publish" if target.client.spec().can("publish") else "activate"
    step = _FollowUp("activate", f"Publish {item.name or item.key}", verb)
    intent = {"action": "publish", "key": item.key, "env_workflow_id": written.env_workflow_id}
    intent |= {"version_id": written.staged} if written.staged else {}
    return _effect(target, item, step, Publisher(target.client, item, written, target.resolver), intent)


def resting(target: WriteTarget, item: WriteItem, written: Written) -> Effect:
    """Unpublish what others may have called, and write its content: ``<prefix>:rest:<key>``."""
    verb = "unpublish" if target.client.spec().can("unpublish") else "deactivate"
    step = _FollowUp("rest", f"Unpublish {item.name or item.key}", verb)
    intent = {"action": "rest", "key": item.key, "env_workflow_id": written.env_workflow_id}
    writer = Writer(target.client, replace(item, create_if_missing=False), target.resolver, resting=True)
    return _effect(target, item, step, writer, intent)


def keeping_draft(target: WriteTarget, item: WriteItem, written: Written) -> Effect:
    """Write the draft beside what runs: ``<prefix>:draft:<key>``."""
    step = _FollowUp("draft", f"Restore the draft of {item.name or item.key}")
    intent = {"action": "draft", "key": item.key, "env_workflow_id": written.env_workflow_id}
    intent |= {"wanted_hash": item.wanted_draft_hash} if item.wanted_draft_hash else {}
    return _effect(target, item, step, DraftKeeper(target.client, item, written, target.resolver), intent)


def archiving(target: WriteTarget, item: WriteItem, written: Written) -> Effect:
    """Archive a workflow in n8n: ``<prefix>:archive:<key>``."""
    step = _FollowUp("archive", f"Archive {item.name or item.key}", "archive")
    intent = {"action": "archive", "key": item.key, "env_workflow_id": written.env_workflow_id}
    return _effect(target, item, step, Archiver(target.client, item, written), intent)


def _effect(target: WriteTarget, item: WriteItem, step: _FollowUp, actor: _Actor, intent: dict[str, Any]) -> Effect:
    path = f"/workflows/{intent['env_workflow_id']}" + (f"/{step.verb}" if step.verb else "")
    method = "POST" if step.verb else "PUT"
    call = to_n8n(target.environment, item.key, item.name, method=method, path=path)
    call = _of_workflow(call, target, item, "UPDATE", {name: value for name, value in intent.items() if name != "key"})
    act = _act(target, item, actor, intent)
    return Effect(f"{target.prefix}:{step.name}:{item.key}", step.title, intent, act, actor.look, call)
