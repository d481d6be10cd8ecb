"""Writes and switches as effects: with an intent before, a result after, and a look in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from operations.effects import Effect, Looked, Outside
from operations.errors import UnknownOutcome
from opsconsole.core.errors import OpsError
from workflows.n8n.errors import N8nError

from .errors import NotActivated
from .items import WriteItem, Written
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
) -> list[Effect]:
    """One effect per item, ``<prefix>:write:<key>``, in an order that is safe one at a time.

    The result is ``Written.to_dict()``. With ``tolerant`` an item that fails ends as ``{"outcome": "failed"}`` and the
    others go on; without, the first failure is raised. Use ``perform``: it adds the order between chunks, the second
    write for circles, and the switching on.
    """
    return [
        write_effect(client, item, environment=environment, prefix=prefix, resolver=resolver, tolerant=tolerant)
        for item in items
    ]


def write_effect(
    client: N8nClient, item: WriteItem, *, environment: Environment, prefix: str, resolver: Resolver, tolerant: bool
) -> Effect:
    writer = Writer(client, item, resolver)
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


def to_n8n(environment: Environment, key: str, name: str, *, method: str, path: str, **hashes: str | None) -> Outside:
    """What the trail says of a write to an environment's n8n: the call and the hashes, no content."""
    facts = {"method": method, "path": path, "key": key, **{k: v for k, v in hashes.items() if v}}
    return Outside("n8n", "environments", environment.pk, f"{environment.name}: {name or key}", facts)


def _tolerant(
    item: WriteItem, act: Callable[[], Any], look: Callable[[dict[str, Any]], Looked], intent: dict[str, Any]
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


def activation(
    client: N8nClient, item: WriteItem, written: Written, *, environment: Environment, prefix: str, tolerant: bool
) -> Effect:
    there = written.env_workflow_id

    def act() -> dict[str, Any]:
        try:
            client.activate(there)
        except N8nError as error:
            if getattr(error, "ambiguous", False):
                raise
            if not bool(client.get_workflow(there).get("active")):
                raise NotActivated(
                    f"“{item.name}” could not be switched on: {error.message}",
                    details={"key": item.key, "env_workflow_id": there, "cause": error.to_dict()},
                ) from error
        if not bool(client.get_workflow(there).get("active")):
            raise NotActivated(
                f"n8n says that “{item.name}” was switched on, but it is not.",
                details={"key": item.key, "env_workflow_id": there},
            )
        return Written(item.key, item.name, written.outcome, there, active=True).to_dict()

    def look(_intent: dict[str, Any]) -> Looked:
        if bool(client.get_workflow(there).get("active")):
            return Looked.done(Written(item.key, item.name, written.outcome, there, active=True).to_dict())
        return Looked.not_done()

    intent = {"action": "activate", "key": item.key, "env_workflow_id": there}
    acting = _tolerant(item, act, look, intent) if tolerant else act
    said = to_n8n(environment, item.key, item.name, method="POST", path=f"/workflows/{there}/activate")
    return Effect(f"{prefix}:activate:{item.key}", f"Switch on {item.name or item.key}", intent, acting, look, said)
