"""The table of node parameters' defaults is that of the n8n versions which are supported."""

from __future__ import annotations

from pathlib import Path

import pytest

import workflows.saved
from sandbox.live.defaults import node_defaults
from sandbox.live.versions import NEWEST, OLDEST
from sandbox.live.wanted import missing, wanted_versions


@pytest.mark.live_n8n
def test_the_defaults_are_those_of_the_oldest_and_the_newest() -> None:
    if not {OLDEST, NEWEST} <= set(wanted_versions()):
        pytest.skip("asks the oldest and the newest n8n: OPSCONSOLE_LIVE_N8N=1")
    for version in (OLDEST, NEWEST):
        if why := missing(version):
            pytest.fail(why)
    recorded = Path(workflows.saved.__file__).with_name("node_defaults.json").read_text()
    assert recorded == node_defaults([OLDEST, NEWEST]), "script/n8n defaults > workflows/node_defaults.json"
