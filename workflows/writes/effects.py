"""Writes and switches as effects: with an intent before, a result after, and a look in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import OpsError
from operations.effects import Effect, ExternalCall, ProbeResult
from operations.errors import UnknownOutcome

from .items import WriteItem, Written
from .publishing import Archiver, DraftKeeper, Publisher
from .resolver import Resolver
from .writer import Writer

if TYPE_CHECKING:
    from workflows.models import Environment
    from workflows.n8n.client import N8nClient

_METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}


def write_effects(
    client: N8nClient,
    items: Sequence[WriteItem],
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    tolerant: bool = False,
    listed: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Effect]:
    """One effect per item, ``<prefix>:write:<key>``, in an order that is safe one at a time.

    The result is ``Written.to_dict()``. With ``tolerant`` an item that fails ends as ``{"outcome": "failed"}`` and the
    others go on; without, the first failure is raised. Use ``perform``: it adds the order between chunks, the second
    write for circles, and the switching on.
    """
    listed = listed or {}
    where: Any = {"environment": environment, "prefix": prefix, "resolver": resolver, "tolerant": tolerant}
    return [write_effect(client, item, **where, listed=listed.get(item.env_workflow_id or "")) for item in items]


def write_effect(
    client: N8nClient,
    item: WriteItem,
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    tolerant: bool,
    listed: Mapping[str, Any] | None = None,
) -> Effect:
    writer = Writer(client, item, resolver, listed=listed)
    intent = {
        "action": item.action,
        "key": item.key,
        "env_workflow_id": item.env_workflow_id,
        "expected_hash": item.expected_hash,
        "wanted_hash": item.wanted_hash,
        "active": item.active,
        "marker": f"{prefix}:{item.key}",
    }
    act = _tolerant(item, writer.act, writer.look, intent) if tolerant else writer.act
    path = f"/workflows/{item.env_workflow_id}" if item.env_workflow_id and item.action != "create" else "/workflows"
    hashes = {"hash_before": item.expected_hash, "hash_wanted": item.wanted_hash}
    said = to_n8n(environment, item.key, item.name, method=_METHODS[item.action], path=path, **hashes)
    return Effect(f"{prefix}:write:{item.key}", item.title, intent, act, writer.look, said)


def to_n8n(
    environment: Environment, key: str, name: str, *, method: str, path: str, **hashes: str | None
) -> ExternalCall:
    """What the trail says of a write to an environment's n8n: the call and the hashes, no content."""
    facts = {"method": method, "path": path, "key": key, **{k: v for k, v in hashes.items() if v}}
    return ExternalCall("n8n", "environments", environment.pk, f"{environment.name}: {name or key}", facts)


def _tolerant(
    item: WriteItem, act: Callable[[], Any], look: Callable[[dict[str, Any]], ProbeResult], intent: dict[str, Any]
) -> Callable[[], Any]:
    def go_on() -> Any:
        try:
            return act()
        except UnknownOutcome:
            raise
        except OpsError as error:
            if getattr(error, "ambiguous", False):
                looked = look(intent)
                if looked.state == "done":
                    return looked.result
                if looked.state == "unknown":
                    raise
            return Written(item.key, item.name, "failed", item.env_workflow_id or "", error=error.to_dict()).to_dict()

    return go_on


def publishing(
    client: N8nClient,
    item: WriteItem,
    written: Written,
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    tolerant: bool,
) -> Effect:
    """Let the new content run: ``<prefix>:activate:<key>``."""
    publisher = Publisher(client, item, written, resolver)
    intent = {"action": "publish", "key": item.key, "env_workflow_id": written.env_workflow_id}
    intent |= {"version_id": written.staged} if written.staged else {}
    return _after(
        environment,
        prefix,
        "activate",
        f"Publish {item.name or item.key}",
        item,
        publisher,
        intent,
        "publish" if client.spec().can("publish") else "activate",
        tolerant,
    )


def resting(
    client: N8nClient,
    item: WriteItem,
    written: Written,
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    tolerant: bool,
) -> Effect:
    """Unpublish what others may have called, and bring its content there: ``<prefix>:rest:<key>``."""
    writer = Writer(client, replace(item, create_if_missing=False), resolver, resting=True)
    intent = {"action": "rest", "key": item.key, "env_workflow_id": written.env_workflow_id}
    word = "unpublish" if client.spec().can("unpublish") else "deactivate"
    title = f"Unpublish {item.name or item.key}"
    return _after(environment, prefix, "rest", title, item, writer, intent, word, tolerant)


def keeping_draft(
    client: N8nClient,
    item: WriteItem,
    written: Written,
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    tolerant: bool,
) -> Effect:
    """Bring the draft beside what runs into line: ``<prefix>:draft:<key>``."""
    keeper = DraftKeeper(client, item, written, resolver)
    intent = {"action": "draft", "key": item.key, "env_workflow_id": written.env_workflow_id}
    intent |= {"wanted_hash": item.wanted_draft_hash} if item.wanted_draft_hash else {}
    title = f"Put back the draft of {item.name or item.key}"
    return _after(environment, prefix, "draft", title, item, keeper, intent, "", tolerant)


def archiving(
    client: N8nClient,
    item: WriteItem,
    written: Written,
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    tolerant: bool,
) -> Effect:
    """Put a workflow into n8n's archive: ``<prefix>:archive:<key>``."""
    archiver = Archiver(client, item, written)
    intent = {"action": "archive", "key": item.key, "env_workflow_id": written.env_workflow_id}
    title = f"Archive {item.name or item.key}"
    return _after(environment, prefix, "archive", title, item, archiver, intent, "archive", tolerant)


def _after(
    environment: Environment,
    prefix: str,
    step: str,
    title: str,
    item: WriteItem,
    actor: Publisher | Writer | DraftKeeper | Archiver,
    intent: dict[str, Any],
    word: str,
    tolerant: bool,
) -> Effect:
    acting = _tolerant(item, actor.act, actor.look, intent) if tolerant else actor.act
    path = f"/workflows/{intent['env_workflow_id']}" + (f"/{word}" if word else "")
    said = to_n8n(environment, item.key, item.name, method="POST" if word else "PUT", path=path)
    return Effect(f"{prefix}:{step}:{item.key}", title, intent, acting, actor.look, said)
