"""The chain's head, put where this database's administrators cannot reach it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from tenants.scope import assert_no_scope, platform_scope

from .models import Seal

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 10.0


def head() -> dict[str, Any] | None:
    """What is anchored: the last seal's number, chain value, time, key and signature."""
    with platform_scope():
        seal = Seal.objects.defer("leaves").order_by("-number").first()
    if seal is None:
        return None
    return {
        "number": seal.number,
        "chain": seal.chain,
        "sealed_at": seal.sealed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "key_id": seal.key_id,
        "signature": seal.signature,
    }


def anchor() -> list[str]:
    """Append the head to the file and send it to the address that the settings name; what failed, in words.

    Nothing is done about a head that stands at the end of the file already.
    """
    assert_no_scope("Anchoring the trail")
    found = head()
    if found is None:
        return []
    problems = []
    if settings.ANCHOR_FILE:
        try:
            _to_file(Path(settings.ANCHOR_FILE), found)
        except OSError as error:
            problems.append(f"{settings.ANCHOR_FILE}: {error}")
    if settings.ANCHOR_URL:
        try:
            httpx.post(settings.ANCHOR_URL, json=found, timeout=TIMEOUT_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            problems.append(f"{settings.ANCHOR_URL}: {error}")
    for problem in problems:
        logger.error("the trail was not anchored: %s", problem)
    return problems


def _to_file(path: Path, found: dict[str, Any]) -> None:
    line = json.dumps(found, sort_keys=True)
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        lines = file.read().decode().splitlines()
        if lines and lines[-1] == line:
            return
        file.write((line + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
