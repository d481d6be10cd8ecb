"""The plan of a promotion: what is done to each workflow, with which hashes, and what speaks against it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from snapshots.manifest import ran_something_else
from workflows.calling import can_be_active, needs_published_callees
from workflows.content import warnings as oddities
from workflows.facts import Facts as WorkflowFacts
from workflows.facts import changes, facts_of
from workflows.models import MapStatus
from workflows.normalization import NORMALIZATION_VERSION, STICKY
from workflows.references import references
from workflows.writes import webhook_clashes

from . import needs
from .called_workflows import Callers, keep_called, publish_called
from .inputs import Facts, Place
from .mapping import Mapped, keys_in_target, map_workflow, target_ids
from .options import ActivePolicy, Options, SourceVersion

PLAN_VERSION = 2

#: Manifest entry and portable content of workflows, by key.
Contents = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
Load = Callable[[Iterable[str]], Contents]
#: Webhook addresses of the active workflows of the target, by key.
Listening = Callable[[], Mapping[str, list[str]]]

WARNINGS_SHOWN = 20


def build_plan(
    facts: Facts,
    *,
    keys: Sequence[str],
    options: Options,
    load_source: Load,
    listening: Listening,
    callers: Callers,
    now: datetime,
    reached: tuple[bool, bool] = (True, True),
) -> dict[str, Any]:
    """Compute the plan for ``keys``, to which required sub-workflows are added if the options say so.

    Nothing is raised for what speaks against it: ``dangling`` and ``unknown_keys`` are in the plan and are refused
    at submission.
    """
    chosen, unknown = _known(facts, keys)
    contents: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = dict(load_source(chosen))
    required = _required(facts, contents, load_source)
    added = sorted(required) if options.include_required else []
    selected = sorted({*contents} & {*chosen, *added})
    creating = frozenset(key for key in selected if key not in facts.target.places)
    workflow_ids, target_keys = target_ids(facts, creating), keys_in_target(facts, creating)
    facts = replace(facts, prunes=options.repair)
    named = {p.env_workflow_id: f"the workflow “{p.name}”" for p in facts.source.places.values()}
    items, dangling, mapped_by_key = [], [], {}
    called_count = needs_published_callees(facts.target.environment)
    may_run = {key: can_be_active(contents[key][1], called_count=called_count) for key in selected}
    for key in selected:
        entry, content = contents[key]
        mapped = map_workflow(content, facts=facts, workflow_ids=workflow_ids, keys=target_keys)
        mapped_by_key[key] = mapped
        item = _item(facts, key, entry, content, mapped, options, may_run=may_run[key])
        item["added_for"] = sorted(required[key]) if key in required and key in added and key not in chosen else []
        items.append(item)
        verdict = needs.judge(content, mapped, facts, hosts=facts.hosts, ids=named)
        item["needs"], item["warnings"] = verdict.needs, (item["warnings"] + verdict.warnings)[:WARNINGS_SHOWN]
        lacking = (*mapped.dangling, *verdict.dangling)
        dangling += [{"workflow_key": key, "workflow_name": item["name"], **found} for found in lacking]
    keep_called(facts, items, may_run, callers)
    dangling += publish_called(facts, items, may_run)
    needs.complete_offers(dangling, facts)
    _warn_of_clashes(facts, items, mapped_by_key, listening)
    source, target = facts.source.captured(), facts.target.captured()
    plan: dict[str, Any] = {
        "version": PLAN_VERSION,
        "normalization_version": NORMALIZATION_VERSION,
        "source": _side(facts.source.environment, source),
        "target": _side(facts.target.environment, target),
        "options": options.to_dict(),
        "items": _in_order(items),
        "dangling": dangling,
        "scopes": needs.scope_facts(facts.around_target, items),
        "reached": {"source": reached[0], "target": reached[1]},
        "unknown_keys": unknown,
        "missing_contents": sorted(set(chosen) - set(contents)),
        "proposed": [
            {"key": key, "name": facts.source.places[key].name, "needed_by": sorted(by)}
            for key, by in sorted(required.items())
            if key not in selected
        ],
        "counts": {action: sum(i["action"] == action for i in items) for action in ("create", "update", "unchanged")},
        "planned_at": now.isoformat(),
    }
    return plan


def plan_hash(plan: Mapping[str, Any]) -> str:
    """64 hex digits of all in the plan but the moment it was made."""
    kept = {name: value for name, value in plan.items() if name != "planned_at"}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def essence(plan: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What would be done, without when it was seen: equal where two plans mean the same."""
    parts = ("key", "action", "expected_hash", "expected_draft_hash", "wanted_hash", "active")
    return [tuple(item.get(part) for part in parts) for item in plan["items"]]


def _known(facts: Facts, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    chosen = list(dict.fromkeys(keys))
    usable = {key for key, place in facts.source.places.items() if not place.is_ignored}
    return [key for key in chosen if key in usable], [key for key in chosen if key not in usable]


def _side(environment: Any, snapshot: Any) -> dict[str, Any]:
    return {
        "environment_id": str(environment.pk),
        "slug": environment.slug,
        "name": environment.name,
        "snapshot_id": str(snapshot.pk),
        "commit": snapshot.git_commit_sha,
        "captured_at": snapshot.created_at.isoformat(),
    }


def _required(facts: Facts, contents: dict[str, Any], load_source: Load) -> dict[str, set[str]]:
    """Sub-workflows that the target lacks, and who needs them; loads their contents into ``contents``."""
    keys = facts.source.key_by_id
    needed: dict[str, set[str]] = {}
    todo = list(contents)
    while todo:
        found: dict[str, set[str]] = {}
        for key in todo:
            for ref in references(contents[key][1]):
                called = keys.get(ref.value) if ref.kind == "workflow" and ref.path != "settings.callerIds" else None
                if called is None or called in facts.target.places or called == key:
                    continue
                found.setdefault(called, set()).add(key)
        for called, by in found.items():
            needed.setdefault(called, set()).update(by)
        fresh = [k for k in found if k not in contents and not facts.source.places[k].is_ignored]
        contents.update(load_source(fresh) if fresh else {})
        todo = [key for key in fresh if key in contents]
    return needed


def _item(
    facts: Facts,
    key: str,
    entry: Mapping[str, Any],
    content: Mapping[str, Any],
    mapped: Mapped,
    options: Options,
    *,
    may_run: bool,
) -> dict[str, Any]:
    there: Place | None = facts.target.places.get(key)
    here = facts.source.places[key]
    warnings = _warnings(facts, here, there, entry, content, mapped)
    wanted_active = {
        ActivePolicy.KEEP: bool(there and there.active),
        ActivePolicy.COPY: bool(content.get("active")),
        ActivePolicy.INACTIVE: False,
    }[ActivePolicy(options.active)]
    if wanted_active and not may_run:
        wanted_active = False
        warnings.append(_warning("no_trigger", "It has no trigger, so n8n cannot publish it: it stays unpublished."))
    same = (
        there is not None
        and there.content_hash == mapped.wanted_hash
        and there.active == wanted_active
        and not there.is_archived
        and not other_settings(facts, there, content)
    )
    action = "create" if there is None else "unchanged" if same else "update"
    if action == "create" and not wanted_active and content.get("active"):
        warnings.append(_warning("starts_inactive", "New in the target: it is created unpublished."))
    return {
        "key": key,
        "name": str(content.get("name") or ""),
        "action": action,
        "source": {
            "env_workflow_id": here.env_workflow_id,
            "content_hash": entry.get("content_hash") or here.content_hash,
            "blob": entry.get("blob"),
            "active": bool(content.get("active")),
            "version": str(entry.get("version") or SourceVersion.PUBLISHED),
        },
        "target": {
            "env_workflow_id": there.env_workflow_id,
            "name": there.name,
            "active": there.active,
            "archived": there.is_archived,
        }
        if there
        else None,
        "expected_hash": there.content_hash if there else None,
        "expected_draft_hash": there.draft_hash if there else None,
        "wanted_hash": mapped.wanted_hash,
        "active": wanted_active,
        "tags": sorted(there.tags if there else content.get("tags") or ()),
        "credentials": mapped.credentials,
        "workflows": mapped.workflows,
        "data_tables": mapped.data_tables,
        "depends_on": sorted({w["key"] for w in mapped.workflows if w["key"] and w["key"] != key}),
        "webhooks": mapped.webhooks,
        "node_count": here.node_count,
        "warnings": warnings[:WARNINGS_SHOWN],
    }


def other_settings(facts: Facts, there: Place, content: Mapping[str, Any]) -> list[str]:
    """Names of settings beyond the known ones that the target's copy has otherwise, as far as its n8n has them."""
    learnt = facts.target.environment.learnt_settings
    taken = {name for place in facts.target.places.values() for name in place.facts.settings}
    has, wants = there.facts.settings, facts_of(content).settings
    found = changes(WorkflowFacts(settings=has), WorkflowFacts(settings=wants), defaults=learnt)
    return sorted(change.name for change in found if change.name in taken and change.after is not None)


def settings_left_behind(facts: Facts, there: Place | None, content: Mapping[str, Any]) -> list[str]:
    """Names of settings that the target's n8n takes from nobody and does not have so by itself."""
    taken, learnt = facts.around_target.settings, facts.target.environment.learnt_settings
    if taken is None:
        return []
    has = {**learnt, **(there.facts.settings if there is not None else {})}
    wants = facts_of(content).settings
    return sorted(name for name, value in wants.items() if name not in taken and has.get(name) != value)


def _warning(code: str, message: str, node: str = "") -> dict[str, str]:
    return {"code": code, "message": message, "node": node}


def _warnings(
    facts: Facts, here: Place, there: Place | None, entry: Mapping[str, Any], content: Mapping[str, Any], mapped: Mapped
) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    if there is not None and there.is_drifted:
        found.append(_warning("drifted", "The target's copy is not as approved: that change would be overwritten."))
    if there is not None and there.is_ignored:
        found.append(_warning("ignored", "The target's copy is marked as ignored."))
    if there is None and here.status == MapStatus.UNMAPPED:
        found.append(
            _warning(
                "unconfirmed", "Its counterpart was never confirmed: look whether the target has one of the same name."
            )
        )
    elif there is None and any(p.name == here.name for p in facts.target.places.values()):
        found.append(
            _warning(
                "namesake", "The target has another workflow of the same name; this one will be created beside it."
            )
        )
    if entry.get("version") == SourceVersion.DRAFT:
        found.append(_warning("draft", "Its draft is promoted, not what is published in the source."))
    elif here.draft_hash is not None:
        found.append(_warning("source_draft", "The source's editor holds a draft, which is not promoted."))
    elif ran_something_else(entry):
        found.append(_warning("draft", "An older capture: its draft is promoted, not what ran in the source."))
    if there is not None and there.draft_hash is not None:
        found.append(_warning("target_draft", "The target's editor holds a draft; it is replaced and stays in Git."))
    if there is not None and there.is_archived:
        found.append(_warning("archived", "It is archived in the target: it is taken out of the archive."))
    if here.is_archived:
        found.append(_warning("archived_source", "It is archived in the source."))
    if content.get("pinData"):
        found.append(_warning("pinned_data", "Pinned test data stays in the source."))
    off = [n for n in content.get("nodes") or () if n.get("disabled") and n.get("type") != STICKY]
    if off:
        names = ", ".join(f"“{n.get('name')}”" for n in off[:5])
        found.append(_warning("disabled_nodes", f"{len(off)} of its nodes are switched off: {names}."))
    odd = other_settings(facts, there, content) if there is not None else []
    if odd:
        found.append(_warning("settings", f"Settings that differ: {', '.join(odd)}."))
    left = settings_left_behind(facts, there, content)
    if left:
        target = facts.target.environment.name
        text = f"n8n in {target} does not take these settings: {', '.join(left)}. They stay behind."
        found.append(_warning("settings_left_behind", text))
    for credential in mapped.credentials:
        if credential["target_id"] and not credential["verified"]:
            text = f"The credential “{credential['target_name']}” was entered by hand; no workflow was seen to use it."
            found.append(_warning("unverified_credential", text))
    for loose in mapped.loose:
        found.append(
            _warning("caller_unknown", f"It may be called by {loose['value']}, which the target does not have.")
        )
    found += [_warning(o["code"], o["message"], o.get("node", "")) for o in oddities(content)]
    return found


def _warn_of_clashes(
    facts: Facts, items: list[dict[str, Any]], mapped: Mapping[str, Mapped], listening: Listening
) -> None:
    """n8n lets two active workflows listen at one address without a word, so it is looked at here."""
    wanted = {item["key"]: mapped[item["key"]].webhooks for item in items if item["active"] and item["webhooks"]}
    if not wanted:
        return
    promoted = {item["key"] for item in items}
    present = {key: found for key, found in listening().items() if key not in promoted}
    by_key = {item["key"]: item for item in items}
    names = {key: place.name for key, place in facts.target.places.items()} | {i["key"]: i["name"] for i in items}
    for clash in webhook_clashes(wanted, present):
        for key in clash["keys"]:
            if key not in wanted:
                continue
            others = ", ".join(f"“{names.get(k) or k}”" for k in clash["keys"] if k != key)
            text = f"{others} listens at the same address ({clash['address']}): only one of them will be called."
            by_key[key]["warnings"].append(_warning("webhook_clash", text))


def _in_order(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Called workflows before their callers; a circle is broken at its first by name."""
    by_key = {item["key"]: item for item in items}
    ordered: dict[str, dict[str, Any]] = {}
    for start in sorted(by_key):
        stack: list[tuple[str, bool]] = [(start, False)]
        open_keys: set[str] = set()
        while stack:
            key, leaving = stack.pop()
            if leaving:
                ordered.setdefault(key, by_key[key])
                continue
            if key in ordered or key in open_keys:
                continue
            open_keys.add(key)
            stack.append((key, True))
            stack += [(k, False) for k in reversed(by_key[key]["depends_on"]) if k in by_key]
    return list(ordered.values())
