"""Real n8n, the oldest and the newest that are supported; two instances of each, for the whole session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from promotions import material
from sandbox.live import NEWEST, OLDEST, LiveN8n, install_folder, installed
from tests.live.world import LiveWorld, Site, make_world

WANTED = "1" in (os.environ.get("OPSCONSOLE_LIVE_N8N"), os.environ.get("OPSCONSOLE_REQUIRE_N8N"))
NEW_ONLY = pytest.mark.parametrize("pair", [NEWEST], indirect=True, scope="session")


@pytest.fixture(scope="session", params=[OLDEST, NEWEST])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Site, Site]]:
    """Two instances of one version."""
    if request.config.getoption("--n8n") not in ("live", "both") and not WANTED:
        pytest.skip("real n8n only with --n8n=live")
    if not installed(install_folder(request.param)):
        pytest.fail(f"n8n {request.param} was asked for and is not installed: script/n8n install --all")
    with LiveN8n(2, version=request.param) as (here, there):
        yield Site(here), Site(there)


@pytest.fixture
def world(live_cast: Any, pair: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch) -> LiveWorld:
    monkeypatch.setattr(material, "blocking_incidents", lambda **_: [])
    return make_world(live_cast, *pair)
