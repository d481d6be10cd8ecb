"""A workflow's tags and folder: they change no behaviour, so a failure is reported and stops nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workflows.content import draft_of, portable
from workflows.n8n.errors import N8nError

from .items import WriteItem

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient


def place(client: N8nClient, item: WriteItem, raw: Mapping[str, Any]) -> list[dict[str, str]]:
    """Set the tags and the folder of a workflow, ``raw`` as n8n just gave it; what could not be set, with reasons."""
    workflow_id = str(raw["id"])
    return [*_set_tags(client, item, workflow_id, raw), *_set_folder(client, item, workflow_id, raw)]


def _set_tags(client: N8nClient, item: WriteItem, workflow_id: str, raw: Mapping[str, Any]) -> list[dict[str, str]]:
    if item.tags is None:
        return []
    present = {str(t.get("name") if isinstance(t, Mapping) else t) for t in raw.get("tags") or ()}
    if present == set(item.tags):
        return []
    try:
        client.set_tags(workflow_id, sorted(set(item.tags)))
    except N8nError as error:
        return [{"path": "tags", "reason": error.message}]
    return []


def _set_folder(client: N8nClient, item: WriteItem, workflow_id: str, raw: Mapping[str, Any]) -> list[dict[str, str]]:
    """Move it to its folder; what runs and the draft stay as they are."""
    if item.folder is None or portable(raw).get("folder") == item.folder:
        return []
    if not client.spec().can("move_to_folder"):
        return [{"path": "folder", "reason": "This version of n8n moves nothing into a folder by its API."}]
    try:
        now = client.get_workflow(workflow_id)
        content = {k: v for k, v in (draft_of(now) or portable(now)).items() if k != "staticData"}
        client.update_workflow(workflow_id, content, current=now, publish=False, folder=item.folder)
    except N8nError as error:
        return [{"path": "folder", "reason": f"n8n does not move it there: {error.message}"}]
    return []
