"""Tests that share a console, a database or a real n8n run on one worker: the groups must reach xdist."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("launcher")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process only")
def test_a_group_is_part_of_the_name_that_xdist_distributes_by(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@launcher")
