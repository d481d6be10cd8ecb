"""Data folders that PostgreSQL's user can reach: pytest's own are private to whoever runs the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsconsole.launcher.home import Home
from opsconsole.launcher.identity import service_user


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder that others may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="opsconsole-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(place: Path) -> Home:
    """A data folder that does not exist yet."""
    root = place / "home"
    return Home(root, service_user(root / "postgres"))
