"""One console and one estate for all of the runbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runbook.estate import Estate, Shell, running_estate


@pytest.fixture(scope="package")
def estate(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with running_estate(django_db_blocker, tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture
def shell(estate: Estate, tmp_path: Path) -> Shell:
    return Shell(estate, tmp_path)
