"""The chain's head, put where this database's administrators cannot reach it.

A head that could not be put there is tried again each minute, also when nothing new was sealed; each later head vouches
for all before it, so nothing is lost meanwhile. The trail says when that began and when it was over, and platform
admins are told once.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.core.mail import EmailMessage

from core import context
from tenants.models import PlatformAdmin
from tenants.scope import assert_no_scope, platform_scope

from .models import AuditLog, Seal
from .services import record_event

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 10.0
FAILED = "TRAIL_NOT_ANCHORED"
AGAIN = "TRAIL_ANCHORED"
MOST_ADMINS = 20


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
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problems.append(f"{urlsplit(settings.ANCHOR_URL).hostname}: {_what(error)}")
    for problem in problems:
        logger.error("the trail was not anchored: %s", problem)
    _note(found, problems)
    return problems


def failing() -> AuditLog | None:
    """The event since which heads have not come through; None where the last one did."""
    with platform_scope():
        newest = AuditLog.objects.order_by("-created_at", "-pk")
        last, over = newest.filter(action=FAILED).first(), newest.filter(action=AGAIN).first()
    return None if last is None or (over is not None and over.pk > last.pk) else last


def _what(error: Exception) -> str:
    """Without the address: its path or query may be a secret."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"answered {error.response.status_code}"
    return type(error).__name__


def _note(found: dict[str, Any], problems: list[str]) -> None:
    """An event where it begins or ends to fail, and a mail where it begins."""
    if bool(problems) == (failing() is not None):
        return
    with context.acting(source=context.current().source or "system"), platform_scope():
        details = {"number": found["number"], "chain": found["chain"], "problems": problems}
        record_event(action=FAILED if problems else AGAIN, resource_type="audit_seal", details=details)
        admins = PlatformAdmin.objects.filter(user__is_active=True).values_list("user__email", flat=True)
        to = list(admins[:MOST_ADMINS])
    if problems and to:
        text = (
            f"The head of the trail's chain (seal {found['number']}) could not be put outside:\n\n"
            + "\n".join(problems)
            + "\n\nIt is tried again each minute. Until it comes through, a cut of the newest entries could not be"
            " proven.\nSee OPSCONSOLE_ANCHOR_FILE and OPSCONSOLE_ANCHOR_URL, and the trail's guide.\n"
        )
        try:
            EmailMessage("The trail is not anchored", text, to=to).send()
        except Exception:
            logger.exception("nobody could be told that the trail is not anchored")


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
