"""What runs differently from n8n 2.0 on, as far as the content of a workflow tells. Pure.

Taken from n8n's own list of breaking changes (``breaking-changes/rules/v2`` of 2.41.1) and its migration to 2.0; tried
on 2.41.1 where an instance can show it. Node types and versions that the chosen n8n lacks are asked of it, not listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.texts import json_bytes
from core.wording import quoted
from workflows.normalization import called_workflow
from workflows.upgrading import ERROR_TRIGGER, EXECUTE_TRIGGER, MANUAL_TRIGGERS, migrated_to_2

from .documents import RehearsalFinding

Version = tuple[int, int, int]
Node = Mapping[str, Any]

_WAITING = frozenset(
    {
        "n8n-nodes-base.wait",
        "n8n-nodes-base.form",
        "@n8n/n8n-nodes-langchain.chat",
        "n8n-nodes-base.respondToWebhook",
    }
)
_FILES = frozenset({"n8n-nodes-base.readWriteFile", "n8n-nodes-base.readBinaryFiles", "n8n-nodes-base.readBinaryFile"})
_WRITES_FILES = frozenset({"n8n-nodes-base.writeBinaryFile"})
_CODE = frozenset({"n8n-nodes-base.code", "@n8n/n8n-nodes-langchain.toolCode"})
_ENV = re.compile(r"\$env\b|process\s*\??\.?\s*env\b")


def version_of(text: str) -> Version | None:
    """``2.41.1`` as numbers; None where it is no version."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:[-+].*| or later)?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


@dataclass(frozen=True, slots=True)
class SnapshotWorkflow:
    """A workflow of the snapshot."""

    key: str
    name: str
    active: bool
    content: Mapping[str, Any]


class Estate:
    """What rules must know of the other workflows: who is called, and whether that runs after the upgrade.

    ``crosses_2``: the upgrade leads from before 2.0 to 2.0 or later.
    """

    def __init__(self, *, crosses_2: bool) -> None:
        self.crosses_2 = crosses_2
        self._runs: dict[str, tuple[str, bool, bool]] = {}

    def add(self, workflow_id: str, workflow: SnapshotWorkflow) -> None:
        """Take down one workflow; ``workflow_id`` is n8n's."""
        published = workflow.active or (self.crosses_2 and migrated_to_2(workflow.content) is not None)
        waits = any(node.get("type") in _WAITING and not node.get("disabled") for node in _nodes(workflow.content))
        self._runs[workflow_id] = (workflow.name, published, waits)

    def called(self, workflow_id: str) -> tuple[str, bool, bool] | None:
        """Name, whether it is published after the upgrade, whether it waits; None where it is not there."""
        return self._runs.get(workflow_id)


Rule = Callable[[Node], str | None]


def _removed_start(node: Node) -> str | None:
    return "The Start node is gone in 2.0: the workflow has no start." if _is(node, "n8n-nodes-base.start") else None


def _environment(node: Node) -> str | None:
    text = json_bytes(node.get("parameters") or {}, default=str).decode()
    return "It reads environment variables, which 2.0 blocks unless told otherwise." if _ENV.search(text) else None


def _pyodide(node: Node) -> str | None:
    language = (node.get("parameters") or {}).get("language")
    old = node.get("type") in _CODE and language == "python"
    return "Its Python ran in the browser's engine (Pyodide), which is gone in 2.0." if old else None


def _files(node: Node) -> str | None:
    if node.get("type") not in _FILES | _WRITES_FILES:
        return None
    return "From 2.0 on it reaches files in n8n's own folder only, unless told otherwise."


_NODE_RULES: tuple[tuple[str, Rule, str], ...] = (
    (
        "start_removed",
        _removed_start,
        "Put a Manual Trigger there, or an Execute Workflow Trigger if others call it.",
    ),
    (
        "environment_blocked",
        _environment,
        "Set N8N_BLOCK_ENV_ACCESS_IN_NODE=false on that n8n, or hand the value over by a variable or a credential.",
    ),
    ("pyodide_removed", _pyodide, "Rewrite it for the native Python runner (language pythonNative), and set one up."),
    ("files_restricted", _files, "Name the folders it needs in N8N_RESTRICT_FILE_ACCESS_TO on that n8n."),
)


def findings(
    workflow: SnapshotWorkflow, estate: Estate, unknown: Mapping[tuple[str, str], str]
) -> list[RehearsalFinding]:
    """Everything that would run differently. ``unknown``: what n8n said of a (type, version) that it does not have."""
    found: list[RehearsalFinding] = []
    for node in _nodes(workflow.content):
        found += _node_type(node, unknown)
        if estate.crosses_2:
            found += _node_rules(node)
            found += _calls(node, estate)
    if estate.crosses_2:
        found += _migration(workflow)
        found += _error_workflow(workflow, estate)
    return found


def _name(node: Node) -> str:
    return str(node.get("name") or "")


def _node_type(node: Node, unknown: Mapping[tuple[str, str], str]) -> Iterable[RehearsalFinding]:
    refusal = unknown.get(type_of(node))
    if refusal:
        yield RehearsalFinding(
            rule="node_type",
            node=_name(node),
            sentence=f"It cannot be published: {refusal}",
            way_out="Replace the node, or allow it there (NODES_EXCLUDE, community packages) before upgrading.",
        )


def _node_rules(node: Node) -> Iterable[RehearsalFinding]:
    if node.get("disabled"):
        return
    for rule, check, way_out in _NODE_RULES:
        if sentence := check(node):
            yield RehearsalFinding(rule=rule, node=_name(node), sentence=sentence, way_out=way_out)


def _calls(node: Node, estate: Estate) -> Iterable[RehearsalFinding]:
    called = None if node.get("disabled") else called_workflow(node)
    there = estate.called(called) if called else None
    if there is None:
        return
    callee, published, waits = there
    name = _name(node)
    if not published:
        yield RehearsalFinding(
            rule="callee_not_published",
            node=name,
            sentence=f"It calls “{callee}”, which is not published: from 2.0 on the call fails.",
            way_out=f"Publish “{callee}” after the upgrade, before this workflow runs.",
        )
    options = (node.get("parameters") or {}).get("options") or {}
    if waits and not (isinstance(options, dict) and options.get("waitForSubWorkflow") is False):
        yield RehearsalFinding(
            rule="waiting_callee",
            node=name,
            sentence=f"“{callee}” waits inside; from 2.0 on the caller gets what it returns after the wait.",
            way_out="Look at what the next nodes expect.",
        )


def _error_workflow(workflow: SnapshotWorkflow, estate: Estate) -> Iterable[RehearsalFinding]:
    handler = (workflow.content.get("settings") or {}).get("errorWorkflow")
    there = estate.called(str(handler)) if handler else None
    if there is not None and not there[1]:
        yield RehearsalFinding(
            rule="handler_not_published",
            sentence=f"Its error workflow “{there[0]}” is not published: from 2.0 on nobody hears of its failures.",
            way_out=f"Publish “{there[0]}” after the upgrade.",
        )


def _migration(workflow: SnapshotWorkflow) -> Iterable[RehearsalFinding]:
    """What n8n's own migration to 2.0 does to a workflow that is off."""
    if workflow.active:
        return
    migrated = migrated_to_2(workflow.content)
    if migrated is None:
        kinds = {str(n.get("type")) for n in _nodes(workflow.content) if not n.get("disabled")}
        if kinds & {EXECUTE_TRIGGER, ERROR_TRIGGER}:
            yield RehearsalFinding(
                rule="not_published_by_n8n",
                sentence="Others can call it, but n8n's migration does not publish it: its trigger names no input.",
                way_out="Give its trigger inputs, or let it accept all data; then publish it after the upgrade.",
            )
        return
    starts = [name for name, kind in migrated.disabled if kind not in MANUAL_TRIGGERS]
    if migrated.awakened:
        yield RehearsalFinding(
            rule="awakened",
            sentence=f"n8n publishes it at the upgrade; {quoted(migrated.awakened)} begins to run.",
            way_out="Switch that node off in the editor before the upgrade, if it is to stay silent.",
        )
    if starts:
        yield RehearsalFinding(
            rule="triggers_switched_off",
            sentence=f"n8n publishes it at the upgrade and switches {quoted(starts)} off.",
            way_out="Whoever wants to start it by that later has to switch the node on again.",
        )


def _is(node: Node, kind: str) -> bool:
    return node.get("type") == kind


def _nodes(content: Mapping[str, Any]) -> list[Node]:
    return [node for node in content.get("nodes") or () if isinstance(node, Mapping)]


def type_of(node: Node) -> tuple[str, str]:
    """A node's type and version, as they are asked for."""
    version = node.get("typeVersion") or 1
    return str(node.get("type") or ""), f"{version:g}" if isinstance(version, int | float) else str(version)
