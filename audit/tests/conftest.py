"""What the tests of the trail share."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from audit import sealing


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    """Seals of five entries, anchored in a file of this test, by a key that is known."""
    monkeypatch.setattr(sealing, "BATCH_ENTRIES", 5)
    settings.ANCHOR_FILE = str(tmp_path / "anchors.jsonl")
    settings.SEAL_KEY = base64.b64encode(bytes(range(32))).decode()
    settings.DATABASE_OWNER_URL = os.environ["DATABASE_OWNER_URL"]


@pytest.fixture
def superuser() -> Iterator[psycopg.Connection[Any]]:
    """Somebody against whom the database itself can do nothing: triggers and row security are off for them."""
    secret = json.loads((Path(os.environ["OPSCONSOLE_HOME"]) / "secrets.json").read_text())["postgres_password"]
    parts = urlsplit(os.environ["DATABASE_OWNER_URL"])
    url = urlunsplit(parts._replace(netloc=f"postgres:{secret}@{parts.hostname}:{parts.port}"))
    with psycopg.connect(url, autocommit=True) as found:
        found.execute("SET session_replication_role = replica")
        yield found
