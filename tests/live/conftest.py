"""Real n8n, the oldest and the newest that are supported; two instances of each, for the whole session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from promotions.planning import drift_incidents
from sandbox.live import NEWEST, LiveN8n, missing, wanted_versions
from tests.live.world import LiveWorld, Site, make_world

#: n8n's own variable: how long a publication that was begun is left alone when whoever began it is gone.
LEASE = "N8N_WORKFLOW_PUBLICATION_OUTBOX_LEASE_SECONDS"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One round for each version that was asked for; a test marked ``newest_n8n`` has only that one."""
    if "pair" not in metafunc.fixturenames:
        return
    wanted = wanted_versions(metafunc.config.getoption("--n8n"))
    if metafunc.definition.get_closest_marker("newest_n8n"):
        wanted = [version for version in wanted if version == NEWEST]
    metafunc.parametrize("pair", wanted, indirect=True, scope="session")


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Site, Site]]:
    """Two instances of one version; with another lease on publications where the environment sets one."""
    if why := missing(request.param):
        pytest.fail(why)
    lease = {LEASE: os.environ[LEASE]} if LEASE in os.environ else {}
    with LiveN8n(2, version=request.param, variables=lease) as (here, there):
        yield Site(here), Site(there)


@pytest.fixture
def world(live_cast: Any, pair: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch) -> LiveWorld:
    monkeypatch.setattr(drift_incidents, "blocking_incidents", lambda **_: [])
    return make_world(live_cast, *pair)
