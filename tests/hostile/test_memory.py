"""No answer of any n8n takes more than 64 MiB of a process above what it held idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST_MIB = 64
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured as Linux counts")
@pytest.mark.parametrize("reads", ["capture", "live list", "contract", "other lists"])
def test_no_answer_takes_more_than_it_may(reads: str) -> None:
    """In processes of their own: see ``measure``. The live list is the web's, a capture the worker's."""
    command = [sys.executable, "-m", "tests.hostile.measure", reads]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opsconsole.settings"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) > 20
    assert [row for row in rows if row["mib"] > MOST_MIB] == []
    assert [row for row in rows if row["ended"] != "answered" and not row["ended"].startswith("N8N_")] == []
