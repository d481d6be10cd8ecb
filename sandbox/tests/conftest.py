from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.testing import SandboxInstance, SandboxServer


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as running:
        yield running


@pytest.fixture
def n8n(server: SandboxServer) -> Iterator[SandboxInstance]:
    """A fresh instance, so that no test sees another's faults."""
    instance = server.control.create()
    yield instance
    instance.delete()
