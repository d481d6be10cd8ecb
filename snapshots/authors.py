"""Who wrote a draft: n8n's list does not say, its history of versions does (from about 2.35)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import F, Q
from django.db.models.fields.json import KeyTextTransform

from operations.engine import Run
from workflows import identity
from workflows.content import LiveVersion
from workflows.gateway import client_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n.client import N8nClient
from workflows.n8n.errors import N8nError

logger = logging.getLogger(__name__)

ASKED_AT_ONCE = 50
#: n8n's editor saves every few seconds: the draft that was captured may no longer be the newest version.
VERSIONS_ASKED = 20


def name_drafts(run: Run, environment: Environment, *, step: str) -> None:
    """Ask n8n who wrote captured drafts that have no author. A capture does not fail for the lack of an answer."""
    if not environment.offers("history"):
        return
    with run.fenced():
        rows = (
            WorkflowEnvMap.objects.annotate(named=KeyTextTransform("version_id", "draft_version"))
            .filter(
                Q(draft_version__isnull=True) | ~Q(named=F("env_version_id")),
                environment_id=environment.pk,
                status__in=[str(s) for s in identity.LIVE],
            )
            .exclude(Q(env_draft_hash=None) | Q(env_version_id=""))
        )
        newest = rows.order_by("-content_changed_at", "pk")
        wanted = list(newest.values_list("pk", "env_workflow_id", "env_version_id")[:ASKED_AT_ONCE])
    if wanted:
        run.step(f"{step}:authors", "Ask n8n who wrote the drafts", lambda: _name(run, environment, wanted))


def _name(run: Run, environment: Environment, wanted: Sequence[tuple[uuid.UUID, str, str]]) -> dict[str, int]:
    found: dict[uuid.UUID, LiveVersion] = {}
    try:
        with client_for(environment) as client:
            for pk, workflow_id, version_id in wanted:
                run.check()
                version = _version(client, workflow_id, version_id)
                if version is not None:
                    found[pk] = version
    except N8nError as error:
        logger.info("n8n did not say who wrote the drafts: %s", error.code)
    with run.fenced():
        for pk, version in found.items():
            WorkflowEnvMap.objects.filter(pk=pk, env_version_id=version.version_id).update(
                draft_version=version.to_json()
            )
    return {"asked": len(wanted), "named": len(found)}


def _version(client: N8nClient, workflow_id: str, version_id: str) -> LiveVersion | None:
    kept: list[dict[str, Any]] = client.history(workflow_id, limit=VERSIONS_ASKED)
    found = next((one for one in kept if one.get("versionId") == version_id), None)
    if found is None:
        return None
    texts = {name: found[name] for name in ("authors", "name") if isinstance(found.get(name), str)}
    at = found.get("createdAt")
    return LiveVersion(version_id=version_id, saved_at=at if isinstance(at, str) else "", **texts)
