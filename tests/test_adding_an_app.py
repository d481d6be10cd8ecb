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
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.with_sample_app.settings",
        "SAMPLE_APP": app,
        "OPSCONSOLE_TEST_GROUP": "_sample",
    }
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    done = run("-c", "import django; django.setup(); from tests.with_sample_app import telling; telling.tell()")
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
    assert told["gauges"] == {"sample_bottles": 3.0}


def test_the_trail_and_jobs_speak_of_it(told: dict[str, Any]) -> None:
    assert ["sample_bottles", "Bottles"] in told["subjects"]
    assert ["BOTTLE_OPENED", "Bottle opened"] in told["actions"]
    assert told["noun"] == "bottle"
    assert told["entry_url"] == told["job_url"] == f"/t/acme/bottles/{PK}/"


def test_its_reports_states_jobs_and_the_rest_are_known(told: dict[str, Any]) -> None:
    assert told["reports"][-1] == "bottles"
    assert told["state"] == ["pending", "blue", "Corked"]
    assert told["tile_parts"][-1] == "bottles" and told["demo"][-1] == "bottles"
    assert told["handler"] == "Fill"
    assert told["reverters"] == ["Bottles", "filling"]
    assert told["openapi"] == ["/api/v1/bottles"]


def test_it_is_in_every_matrix_on_every_list_and_works() -> None:
    """In the sample's own settings, on a database with its tables; the attacks on all tables include its own."""
    files = (
        "tests/with_sample_app/installed.py",
        "tests/isolation/test_answers.py",
        "tests/isolation/test_matrix.py",
        "impersonation/tests/test_routes.py",
    )
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", "not async and not task and not copy")
    assert done.returncode == 0, done.stdout[-6000:]


def test_beside_its_folder_it_needs_a_line_of_settings_and_a_layer(tmp_path: Path) -> None:
    """Its place among the layers holds its imports to the rule."""
    text = (ROOT / "pyproject.toml").read_text()
    text = text.replace("root_packages = [", 'root_packages = ["tests", ')
    text = text.replace('["**.tests.** -> **"]', '["**.tests.** -> **", "tests.** -> sandbox.**"]')
    text = text.replace('    "opsconsole",\n', '    "opsconsole",\n    "tests.sample_app",\n', 1)
    (tmp_path / "pyproject.toml").write_text(text)
    linted = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--config", tmp_path / "pyproject.toml", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout


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
        ("WithoutPage", ("tests.sample_app/console.py: there is no page “bottles”.",)),
        ("WithoutTask", ("tests.sample_app/console.py: Celery knows no task sample_app.tasks.cuont.",)),
        ("WithoutJobKind", ("No console.py declares the kind of job “bottles.fill”, which has a handler.",)),
        ("WithoutHandler", ("the kind of job “bottles.fill” has no handler tests.sample_app.handlers.Full",)),
        ("WithoutComponent", ("the health service “bottles” names the component “shelf”, which is not declared.",)),
        ("WithoutTrail", ("The trail does not watch the table sample_sips of tests.sample_app.",)),
    ],
)
def test_what_is_left_out_is_said_when_it_starts(app: str, parts: tuple[str, ...]) -> None:
    """To whoever runs a command."""
    done = run("manage.py", "check", app=f"tests.sample_app.broken.{app}")
    assert done.returncode != 0
    assert all(part in done.stderr for part in parts), done.stderr


def test_it_is_said_by_the_web_server_as_well() -> None:
    """A server does not run Django's checks by itself."""
    done = run("-c", "import opsconsole.asgi", app="tests.sample_app.broken.WithoutSubject")
    assert done.returncode != 0
    assert "tests.sample_app/console.py has no Subject for it." in done.stderr, done.stderr
