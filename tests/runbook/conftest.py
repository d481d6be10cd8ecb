"""One console and one estate for all of the runbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import _empty_tables
from sandbox.testing import SandboxServer
from tests.runbook.estate import Estate, Shell
from tests.running import running_console


@pytest.fixture(scope="package")
def estate(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("console")
    with django_db_blocker.unblock():
        _empty_tables()
        with SandboxServer() as server, running_console(folder) as console:
            yield Estate(console.url, server.control)
        _empty_tables()


@pytest.fixture
def shell(estate: Estate, tmp_path: Path) -> Shell:
    return Shell(estate, tmp_path)
