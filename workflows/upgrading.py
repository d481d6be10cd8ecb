"""What an upgrade of n8n does to workflows, and what people do. Pure.

n8n's own migrations write to its database, past its editor: a workflow that they change keeps the time at which
somebody last saved it. What they do on the way to 2.0 is done here to the content before the upgrade; where that gives
exactly the content after it, n8n made the change. Taken from the migrations of n8n 2.41.1, and tried with a data folder
of 1.123.0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from .content import fingerprint

EXECUTE_TRIGGER = "n8n-nodes-base.executeWorkflowTrigger"
ERROR_TRIGGER = "n8n-nodes-base.errorTrigger"
MANUAL_TRIGGERS = frozenset({"n8n-nodes-base.manualTrigger", "n8n-nodes-base.start"})
#: They start a workflow, and the migration, which goes by the word *Trigger*, leaves them on.
OVERLOOKED = frozenset({f"n8n-nodes-base.{name}" for name in ("webhook", "cron", "interval", "emailReadImap")})

MadeBy = Literal["n8n", "people"]
Rule = Literal["published", "triggers_disabled", "setting_everywhere", "rewritten", "edited"]
Effect = Literal["low", "medium", "high", "critical"]

RULES: Mapping[str, str] = {
    "published": "Published by n8n, because other workflows can call it",
    "triggers_disabled": "Published, with its other triggers switched off",
    "setting_everywhere": "A setting with the same value everywhere",
    "rewritten": "Rewritten by n8n; nobody saved it",
    "edited": "Edited by people",
}


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as a snapshot holds it. ``saved_at`` is when n8n says somebody last saved it."""

    content: dict[str, Any]
    active: bool = False
    saved_at: str = ""


class UpgradeChange(msgspec.Struct, frozen=True, kw_only=True):
    """One workflow that differs between the snapshots around an upgrade: who changed it, how, and how much it matters.

    ``disabled`` are the triggers that n8n switched off; ``callers`` the workflows that call this one by name;
    ``breaks`` says what restoring it would break, empty where nothing is known to. Hashes are None where the
    workflow was not there.
    """

    key: str
    name: str
    made_by: MadeBy
    rule: Rule
    effect: Effect
    sentences: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    breaks: str = ""
    before_hash: str | None = None
    after_hash: str | None = None
    before_active: bool = False
    after_active: bool = False


def change_from(data: Any) -> UpgradeChange | None:
    """A stored document; None where it cannot be read."""
    try:
        return msgspec.convert(data, UpgradeChange)
    except msgspec.ValidationError:
        return None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Who made a change, by which rule; ``effect`` is None where the diff itself has to be graded."""

    made_by: MadeBy
    rule: Rule
    effect: Effect | None
    sentences: tuple[str, ...]
    disabled: tuple[str, ...] = ()
    breaks: str = ""


def judge(
    before: Side, after: Side, *, callers: Sequence[str] = (), everywhere: Collection[tuple[str, Any]] = ()
) -> Verdict:
    """Say who made the change from ``before`` to ``after`` at an upgrade.

    ``callers`` are names of workflows that call it; ``everywhere`` are the settings that came to all workflows with
    one value (``common_settings``).
    """
    migrated = migrated_to_2(before.content) if not before.active and after.active else None
    if migrated is not None and _same(migrated.content, after.content, everywhere):
        return _published(migrated, callers)
    if before.active == after.active:
        if everywhere and _same(before.content, after.content, everywhere):
            return _by_settings(everywhere)
        if before.saved_at and before.saved_at == after.saved_at:
            return _rewritten()
    return Verdict(
        made_by="people",
        rule="edited",
        effect=None,
        sentences=("Somebody changed it between the two snapshots; n8n's upgrade does not do this.",),
    )


class Migrated(msgspec.Struct, frozen=True):
    """A content after n8n's migration to 2.0, and the triggers that it switched off."""

    content: dict[str, Any]
    disabled: tuple[tuple[str, str], ...] = ()
    awakened: tuple[str, ...] = ()


def migrated_to_2(content: Mapping[str, Any]) -> Migrated | None:
    """What n8n's migration to 2.0 makes of an inactive workflow; None where it leaves it alone.

    It publishes workflows that others can call (a usable *When executed by another workflow* trigger) and error
    handlers, and switches their other triggers off, so that these do not begin to run by being published. It does not
    see those that are no triggers by name (webhooks, Cron, Interval, IMAP): these are ``awakened``.
    """
    nodes = content.get("nodes") or []
    called, failing = _deciding_triggers(nodes)
    is_callable = called is not None and _is_on(called) and _takes_input(called)
    # A trigger for errors counts even if it is off, as long as the other one is on: so it is in the migration.
    if not is_callable and (failing is None or not (_is_on(called) or _is_on(failing))):
        return None
    switched_off = [node for node in nodes if _is_switched_off(node, is_callable=is_callable)]
    awakened = [node for node in nodes if not node.get("disabled") and _kind(node) in OVERLOOKED]
    changed = [
        {**node, "disabled": True} if _is_switched_off(node, is_callable=is_callable) else node for node in nodes
    ]
    return Migrated(
        {**content, "nodes": changed, "active": True},
        disabled=tuple((_name(node), _kind(node)) for node in switched_off),
        awakened=tuple(map(_name, awakened)),
    )


def _name(node: Mapping[str, Any]) -> str:
    return str(node.get("name") or "")


def _kind(node: Mapping[str, Any]) -> str:
    return str(node.get("type") or "")


def _is_on(trigger: Mapping[str, Any] | None) -> bool:
    return trigger is not None and trigger.get("disabled") is not True


def _is_switched_off(node: Mapping[str, Any], *, is_callable: bool) -> bool:
    """Whether the migration switches a node off: it goes by the word *Trigger*."""
    kind = _kind(node)
    is_kept = (kind == EXECUTE_TRIGGER and is_callable) or kind == ERROR_TRIGGER or "Trigger" not in kind
    return not is_kept and not node.get("disabled")


def _deciding_triggers(nodes: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The two triggers that the migration goes by: of several of a kind the last, until it has met both."""
    called = failing = None
    for node in nodes:
        if node.get("type") == EXECUTE_TRIGGER:
            called = node
        elif node.get("type") == ERROR_TRIGGER:
            failing = node
        if called is not None and failing is not None:
            break
    return called, failing


def _takes_input(trigger: Mapping[str, Any]) -> bool:
    parameters = trigger.get("parameters") or {}
    source = parameters.get("inputSource")
    if source:
        return source in ("passthrough", "jsonExample")
    if not parameters:
        return True
    inputs = parameters.get("workflowInputs")
    values = inputs.get("values") if isinstance(inputs, dict) else None
    return isinstance(values, list) and bool(values) and all(_is_input(value) for value in values)


def _is_input(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return False
    return "type" not in value or (isinstance(value["type"], str) and value["type"] != "")


def _published(migrated: Migrated, callers: Sequence[str]) -> Verdict:
    names = tuple(name for name, _ in migrated.disabled)
    starts = [name for name, kind in migrated.disabled if kind not in MANUAL_TRIGGERS]
    sentences = [_why_published(callers)]
    if names:
        sentences.append(_switched_off(names, starts_by_itself=bool(starts)))
    if migrated.awakened:
        sentences.append(
            f"{_list(migrated.awakened)} was left on and is live now, though the workflow was off before the upgrade."
        )
    effect: Effect = "critical" if migrated.awakened else "high" if starts else "low"
    return Verdict(
        made_by="n8n",
        rule="triggers_disabled" if names else "published",
        effect=effect,
        sentences=tuple(sentences),
        disabled=names,
        breaks=_what_breaks(callers, starts),
    )


def _why_published(callers: Sequence[str]) -> str:
    if not callers:
        return (
            "n8n published it: from 2.0 on a workflow that others call, or that handles errors, runs only when it is"
            " published. No workflow here is known to call it."
        )
    return (
        "n8n published it: from 2.0 on a workflow that others call runs only when it is published."
        f" {_list(callers)} {'calls' if len(callers) == 1 else 'call'} it."
    )


def _switched_off(names: Sequence[str], *, starts_by_itself: bool) -> str:
    why = (
        "so that it does not start by itself now that it is published"
        if starts_by_itself
        else "and it cannot be tried out by hand in the editor until that is on again"
    )
    return f"n8n switched off {_list(names)}, {why}."


def _what_breaks(callers: Sequence[str], starts: Sequence[str]) -> str:
    breaks = "Unpublishing it on n8n 2.0 or later breaks whatever calls it or relies on it when something fails."
    if callers:
        breaks = f"Unpublishing it breaks {_list(callers)}: the call fails from n8n 2.0 on."
    if starts:
        breaks += f" With {_list(starts)} switched on again, it starts by itself wherever it is published."
    return breaks


def _by_settings(everywhere: Collection[tuple[str, Any]]) -> Verdict:
    names = sorted({name for name, _ in everywhere})
    return Verdict(
        made_by="n8n",
        rule="setting_everywhere",
        effect="low",
        sentences=(f"n8n gave every workflow the same value for {_list(names)}.",),
        breaks="n8n writes this setting itself: what is put back is likely to be changed again.",
    )


def _rewritten() -> Verdict:
    return Verdict(
        made_by="n8n",
        rule="rewritten",
        effect=None,
        sentences=("n8n rewrote it at the upgrade: by its own word nobody has saved it since before.",),
        breaks="n8n brought it into this shape for its new version; the former one may be refused or run otherwise.",
    )


def _list(names: Sequence[str], shown: int = 3) -> str:
    quoted = [f"“{name}”" for name in names[:shown]]
    if len(names) > shown:
        quoted.append(f"{len(names) - shown} more")
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _same(expected: Mapping[str, Any], found: Mapping[str, Any], everywhere: Collection[tuple[str, Any]]) -> bool:
    """Whether two contents behave alike, leaving aside the settings that came to all."""
    return _behaviour(expected, everywhere) == _behaviour(found, everywhere)


def _behaviour(content: Mapping[str, Any], everywhere: Collection[tuple[str, Any]]) -> tuple[Any, ...]:
    settings = content.get("settings") or {}
    common = {name for name, _ in everywhere}
    kept = {k: v for k, v in settings.items() if k not in common} if common else settings
    found = fingerprint({**content, "settings": kept})
    return found.body, found.workflow_refs, found.credential_names


def common_settings(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> frozenset[tuple[str, Any]]:
    """Settings that every workflow has with one plain value after the upgrade and none had before; three at least.

    ``pairs`` are settings before and after, of every workflow of the environment that was there both times.
    """
    if len(pairs) < 3:
        return frozenset()
    found = []
    for name in set.intersection(*(set(after) for _, after in pairs)):
        values = [after[name] for _, after in pairs]
        plain = isinstance(values[0], str | int | float | bool)
        if plain and all(v == values[0] for v in values) and not any(name in before for before, _ in pairs):
            found.append((name, values[0]))
    return frozenset(found)
