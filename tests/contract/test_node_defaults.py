"""The table of node parameters' defaults is that of the n8n versions which are supported."""

from __future__ import annotations

from pathlib import Path

import pytest

import workflows.saved
from sandbox.live.defaults import node_defaults
from sandbox.live.versions import NEWEST, OLDEST
from sandbox.live.wanted import missing


@pytest.mark.live_n8n
def test_the_defaults_are_those_of_the_oldest_and_the_newest() -> None:
    for version in (OLDEST, NEWEST):
        if why := missing(version):
            pytest.skip(why)
    recorded = Path(workflows.saved.__file__).with_name("node_defaults.json").read_text()
    assert recorded == node_defaults([OLDEST, NEWEST]), "script/n8n defaults > workflows/node_defaults.json"
