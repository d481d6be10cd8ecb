"""Facts of a workflow beside its behaviour: archived, tags, description, folder, settings unknown to the console.

They are stored on rows and in manifests as one versioned document, compared one by one, and reported on their own: none
of them changes the content hash.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from core.texts import storable_struct

from .normalization import SETTING_DEFAULTS

FactKind = Literal["archived", "tags", "description", "folder", "setting"]


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """``v`` is the version of this document.

    ``description`` and ``folder`` are None where the instance does not report them; then they are not compared.

    ``settings`` are those that ``normalization.SETTING_DEFAULTS`` does not name, as the instance gave them.
    """

    v: int = 1
    archived: bool = False
    tags: tuple[str, ...] = ()
    description: str | None = None
    folder: str | None = None
    settings: dict[str, Any] = {}

    def to_json(self) -> dict[str, Any]:
        """As stored; what is not set is left out."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return {"v": self.v, **found}


NO_FACTS = Facts()


class FactChange(msgspec.Struct, frozen=True):
    """One fact that is not the same on both sides. ``name`` is the setting's, else the fact's."""

    kind: FactKind
    name: str
    before: Any
    after: Any

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        match self.kind:
            case "archived":
                return "The workflow was archived." if self.after else "The workflow was unarchived."
            case "tags":
                return f"The tags changed from {_listed(self.before)} to {_listed(self.after)}."
            case "description":
                return "The description changed."
            case "folder":
                return "The workflow was moved to another folder."
            case _:
                return f"The setting “{self.name}” changed from {_value(self.before)} to {_value(self.after)}."


def facts_of(content: Mapping[str, Any]) -> Facts:
    """The facts of a portable workflow."""
    description, folder = content.get("description"), content.get("folder")
    settings = content.get("settings") or {}
    found = Facts(
        archived=bool(content.get("archived")),
        tags=tuple(content.get("tags") or ()),
        description=description if isinstance(description, str) else None,
        folder=folder if isinstance(folder, str) else None,
        settings={str(k): v for k, v in settings.items() if k not in SETTING_DEFAULTS and v is not None},
    )
    return storable_struct(found)


def loaded_facts(stored: Any) -> Facts | None:
    """The facts behind ``to_json``; None where nothing, or nothing readable, is stored."""
    if not isinstance(stored, dict):
        return None
    try:
        return msgspec.convert(stored, Facts)
    except msgspec.ValidationError:
        return None


def changes(before: Facts, after: Facts, *, defaults: Mapping[str, Any] | None = None) -> list[FactChange]:
    """What differs. A setting that one side lacks has the instance's learnt default there."""
    found = []
    if before.archived != after.archived:
        found.append(FactChange("archived", "archived", before.archived, after.archived))
    if sorted(before.tags) != sorted(after.tags):
        found.append(FactChange("tags", "tags", sorted(before.tags), sorted(after.tags)))
    found += _text_changes("description", before.description, after.description)
    found += _text_changes("folder", before.folder, after.folder)
    learnt = defaults or {}
    for name in sorted(before.settings.keys() | after.settings.keys()):
        was, now = before.settings.get(name, learnt.get(name)), after.settings.get(name, learnt.get(name))
        if was != now:
            found.append(FactChange("setting", name, was, now))
    return found


def _text_changes(kind: FactKind, before: str | None, after: str | None) -> list[FactChange]:
    if before is None or after is None or before == after:
        return []
    return [FactChange(kind, kind, before, after)]


def with_details(content: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the tags, the description, the folder and the unknown settings of ``seen``."""
    settings = {k: v for k, v in (content.get("settings") or {}).items() if k in SETTING_DEFAULTS}
    settings |= {k: v for k, v in (seen.get("settings") or {}).items() if k not in SETTING_DEFAULTS}
    names = ("tags", "description", "folder")
    return {**without(content, names), **only(seen, names), "settings": settings}


def only(content: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Those of the named parts that there are."""
    return {name: content[name] for name in names if name in content}


def without(content: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Everything but the named parts."""
    return {name: value for name, value in content.items() if name not in names}


def given_to_all(before: Collection[Facts], now: Collection[Facts]) -> dict[str, Any]:
    """Settings that n8n itself put into every workflow, as an upgrade does: one value everywhere, and nowhere before.

    A single workflow proves nothing.
    """
    if len(now) < 2 or not before:
        return {}
    known = {name for facts in before for name in facts.settings}
    first, *others = now
    return {
        name: value
        for name, value in first.settings.items()
        if name not in known and all(facts.settings.get(name) == value for facts in others)
    }


def _listed(names: Any) -> str:
    return ", ".join(f"“{name}”" for name in names) if names else "none"


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:79]}…"
