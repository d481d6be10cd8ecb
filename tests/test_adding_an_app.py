"""An app that is in ``INSTALLED_APPS`` and declares itself is everywhere; one that leaves something out does not start.

In processes of their own: what is installed is settled when a process starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PK = "00000000-0000-0000-0000-000000000007"


def run(*command: str, app: str = "tests.sample_app") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.sample_app.settings", "SAMPLE_APP": app}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    done = run("-c", "import django; django.setup(); from tests.sample_app import telling; telling.tell()")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_its_page_is_in_the_rail_and_the_command_bar(told: dict[str, Any]) -> None:
    assert 'href="/t/acme/bottles/"' in told["rail"]
    assert told["rail"].index("Jobs") < told["rail"].index("Bottles"), "in its place"
    assert [row["url"] for row in told["command"]] == ["/t/acme/bottles/"]
    assert "Bottles" in told["finders"]


def test_its_addresses_have_their_rules(told: dict[str, Any]) -> None:
    page, api = "t/<slug:tenant_slug>/bottles/", "api/v1/bottles"
    rules = told["rules"]
    assert (rules[f"GET {page}"], rules[f"POST {page}"]) == ("read", "denied")
    assert rules[f"POST {page}<uuid:pk>/"] == "write"
    assert (rules[f"GET {api}"], rules[f"DELETE {api}"]) == ("read", "denied")


def test_its_part_of_the_platform_is_looked_at(told: dict[str, Any]) -> None:
    assert told["probe"]["status"] == "ok"
    assert told["service"] == told["stream"] == {"name": "bottles"}
    assert (told["beat"], told["tasks"]) == ("sample_app.tasks.count", ["sample_app.tasks.count"])


def test_the_trail_and_jobs_speak_of_it(told: dict[str, Any]) -> None:
    assert ["sample_bottles", "Bottles"] in told["subjects"]
    assert ["BOTTLE_OPENED", "Bottle opened"] in told["actions"]
    assert told["noun"] == "bottle"
    assert told["entry_url"] == told["job_url"] == f"/t/acme/bottles/{PK}/"


def test_its_consumer_waits_for_its_event(told: dict[str, Any]) -> None:
    assert told["consumers"] == {"New bottles": ["Bottle emptied"]}


def test_with_all_of_it_the_console_starts() -> None:
    assert run("manage.py", "check", "--fail-level", "ERROR").returncode == 0
    started = run("-c", "import opsconsole.asgi")
    assert started.returncode == 0, started.stderr


SILENT = "the view does not say what a support session may do there."


@pytest.mark.parametrize(
    ("app", "parts"),
    [
        ("WithoutRule", ("sample_app/views.py:", "bottles (/t/<slug:tenant_slug>/bottles/)", SILENT)),
        ("WithoutEndpointsRule", ("sample_app/rest.py:", "throw_away (/api/v1/bottles)", SILENT)),
        ("WithoutSubject", ("the table sample_bottles", "tests.sample_app/console.py has no Subject for it.")),
        ("WithoutEvent", ("The consumer “bottles.replace” of tests.sample_app waits for BottleEmptied",)),
        ("WithoutConsole", ("tests.sample_app/console.py has to hold a Console named “console”.",)),
    ],
)
def test_what_is_left_out_is_said_when_it_starts(app: str, parts: tuple[str, ...]) -> None:
    """To whoever runs a command, and by the web server."""
    for command in (("manage.py", "check"), ("-c", "import opsconsole.asgi")):
        done = run(*command, app=f"tests.sample_app.broken.{app}")
        assert done.returncode != 0
        assert all(part in done.stderr for part in parts), done.stderr
