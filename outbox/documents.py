"""Payloads of events as they are stored, and the one place that reads those of older versions."""

from __future__ import annotations

from typing import Any

import msgspec

from core.events import EventType
from core.registry import registry


class UnreadableEvent(Exception):
    """An event that this console cannot read: of an unknown name, of a newer version, or with another shape."""


def type_of(event: msgspec.Struct) -> EventType:
    """What is declared of an event. Raises ``UnreadableEvent`` where no app does."""
    for declared in registry.event_types().values():
        if declared.payload is type(event):
            return declared
    raise UnreadableEvent(f"No app declares {type(event).__name__} among its events.")


def from_stored(name: str, version: int, payload: dict[str, Any]) -> msgspec.Struct:
    """The event of today that was stored, maybe by an older console. Raises ``UnreadableEvent``."""
    declared = registry.event_types().get(name)
    if declared is None:
        raise UnreadableEvent(f"This console knows no event “{name}”.")
    if version > declared.version:
        raise UnreadableEvent(f"“{name}” version {version} is newer than this console, which reads {declared.version}.")
    for older in range(version, declared.version):
        upgrade = declared.upgrades.get(older)
        if upgrade is None:
            raise UnreadableEvent(f"“{name}” version {older} has no upgrade to version {older + 1}.")
        payload = upgrade(payload)
    try:
        return msgspec.convert(payload, declared.payload)
    except msgspec.ValidationError as error:
        raise UnreadableEvent(f"“{name}” version {version} has another shape: {error}") from error
