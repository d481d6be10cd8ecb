"""Callers of what was created again: every other workflow that still calls a former id gets the present one.

A rewired caller goes through the editor: its new content is a draft there for a moment, or for as long as a killed
worker is away. So what callers hold is put into Git before any of them is written, drafts included, and the step names
the blobs: whoever goes on gives back what was there, not what the worker before has left. Hashes are made of that when
they are needed, so that they are of the normalisation of whoever compares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from operations.engine import Run
from workflows.content import ContentError, draft_of, dump, parse, portable
from workflows.models import Environment
from workflows.references import references
from workflows.writes import Resolver, WriteItem, WriteTarget, Written, perform

from . import repository
from .store.names import encode_component

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

    from .store import Writer

FOLDER = "callers"
"""Where the contents of callers lie in a tree of the branch of what was seen; those of the last job that had any."""


def rewire(
    run: Run,
    client: N8nClient,
    environment: Environment,
    resolver: Resolver,
    done: Collection[str],
    *,
    prefix: str,
    tolerant: bool,
) -> dict[str, Written]:
    """Rewire what calls a former id and is not among the n8n ids that were written already (``done``).

    One that somebody has edited since it was looked at is not overwritten: ``EditedMeanwhile``.
    """
    found = run.step(
        f"{prefix}:calling",
        "Look for workflows that call what has a new id now",
        lambda: _look(run, client, environment, resolver, done),
    )
    target = WriteTarget(
        client=client,
        environment=environment,
        resolver=resolver,
        prefix=f"{prefix}:rewire",
        tolerant=tolerant,
        restores=True,
    )
    return perform(run, _items(environment, resolver, found), target)


def rewired_by(run: Run, prefix: str) -> set[str]:
    """Keys of the callers whose rewiring was begun under ``prefix``, ended or not."""
    step = run.done_steps().get(f"{prefix}:calling")
    found: list[dict[str, Any]] = (step.result or []) if step is not None else []
    names = {str(row["key"]): f"{prefix}:rewire:write:{row['key']}" for row in found}
    return {key for key, name in names.items() if name in run.done_steps() or run.was_begun(name)}


def _look(
    run: Run, client: N8nClient, environment: Environment, resolver: Resolver, done: Collection[str]
) -> list[dict[str, Any]]:
    """Find the callers and keep what they hold. Contents go into Git, hashes and the names of blobs into the step."""
    former, keys, callers = set(resolver.moved), resolver.key_map(), []
    store = repository.store_for(environment.tenant_id)
    with repository.failures_named(), store.writer(environment.seen_branch) as writer:
        writer.replace(FOLDER)
        for raw in client.iter_workflows():
            run.check()
            try:
                content, draft = portable(raw), draft_of(raw)
                called = {r.value for r in references(content) if r.kind == "workflow"}
            except (ContentError, TypeError):  # what a broken one calls cannot be known
                continue
            if raw["id"] not in done and not former.isdisjoint(called):
                key = keys.get(raw["id"]) or f"id:{raw['id']}"
                callers.append({"id": raw["id"], "key": key} | _kept(writer, raw["id"], content, draft))
        if callers:
            author, origin = repository.people(run)
            writer.commit(
                message=f"Keep {len(callers)} callers in {environment.name} before they are rewired",
                author=author,
                trailers={"Environment": environment.slug, **origin},
                guard=run.check,
            )
    return callers


def _kept(
    writer: Writer, workflow_id: str, content: Mapping[str, Any], draft: Mapping[str, Any] | None
) -> dict[str, Any]:
    path = f"{FOLDER}/{encode_component(workflow_id)}"
    kept = {"name": content["name"], "blob": writer.put(f"{path}.json", dump(content))}
    return kept if draft is None else kept | {"draft_blob": writer.put(f"{path}.draft.json", dump(draft))}


def _items(environment: Environment, resolver: Resolver, callers: Collection[Mapping[str, Any]]) -> list[WriteItem]:
    store = repository.store_for(environment.tenant_id)
    wanted = [row[name] for row in callers for name in ("blob", "draft_blob") if name in row]
    data = dict(store.read_blobs(dict.fromkeys(wanted))) if wanted else {}
    return [
        _item(row, resolver, parse(data[row["blob"]]), parse(data[row["draft_blob"]]) if "draft_blob" in row else None)
        for row in callers
    ]


def _item(
    row: Mapping[str, Any], resolver: Resolver, content: Mapping[str, Any], draft: Mapping[str, Any] | None
) -> WriteItem:
    value = resolver.content_hash(content)
    draft_hash = resolver.content_hash(draft) if draft is not None else value
    has_draft = draft_hash != value
    return WriteItem(
        key=row["key"],
        name=row["name"],
        title=f"Let {row['name'] or row['key']} call what was recreated",
        action="update",
        env_workflow_id=row["id"],
        content=content,
        expected_hash=value,
        wanted_hash=value,
        draft=draft if has_draft else None,
        wanted_draft_hash=draft_hash if has_draft else None,
        # None: while the new content waits in the editor, it means the same as what runs.
        expected_drafts=frozenset({draft_hash if has_draft else None, None}),
        create_if_missing=False,
    )
