"""`docs/guide/runbook.md` says of each block what it shows and which test holds it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.runbook.estate import BLOCKS, FOREIGN, NOT_YET, held_by

PAGE = Path(__file__).parents[2] / "docs/guide/runbook.md"
TITLES = re.findall(r"^## (\d+)\. ([^\n]+)$", (Path(__file__).parent / "commands.md").read_text(), re.M)
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)


def test_the_table_holds_every_block_and_the_test_that_runs_it() -> None:
    rows = {int(number): (title, shows, held) for number, title, shows, held in ROW.findall(PAGE.read_text())}
    assert sorted(rows) == sorted(BLOCKS) == list(range(1, 66))
    tests = held_by()
    for number, title in ((int(number), title) for number, title in TITLES):
        named, shows, held = rows[number]
        assert named == title and shows.strip(), number
        if number in FOREIGN or number in NOT_YET:
            assert held == (FOREIGN | NOT_YET)[number], number
        else:
            assert held == f"`{tests[number]}`", number
