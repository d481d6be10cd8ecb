"""The console as real processes on a database of its own, the sandbox beside it, and a browser in front."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.testing import SandboxServer
from tests.running import ROOT, Running, running_console

from .chromium import FLAGS, browser_path
from .driving import PASSWORD, Visitor

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # One console and one database for all of them, so one worker runs them all.
            item.add_marker(pytest.mark.xdist_group("browser"))


def own_database() -> dict[str, str]:
    """A fresh database that no other test empties, as variables for programs."""
    from conftest import _make_database

    names = ("DATABASE_URL", "DATABASE_OPERATOR_URL", "DATABASE_OWNER_URL")
    before = {name: os.environ[name] for name in names}
    owner, _, current = before["DATABASE_OWNER_URL"].rpartition("/")
    # Where the session has switched to a test database already, its template is that of the plain name.
    plain = current.removeprefix("test_").rpartition("_")[0] if current.startswith("test_") else current
    os.environ["DATABASE_OWNER_URL"] = f"{owner}/{plain}"
    try:
        made = _make_database(f"browser_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    finally:
        os.environ["DATABASE_OWNER_URL"] = before["DATABASE_OWNER_URL"]
    return {name: f"{url.rpartition('/')[0]}/{made}" for name, url in before.items()}


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Debian's Chromium. Without one the tests are skipped, unless OPSCONSOLE_REQUIRE_BROWSER=1.

    It ends with the last of these tests: while Playwright's loop runs in this thread, no other test can run one.
    """
    from playwright.sync_api import sync_playwright

    path = browser_path()
    if not Path(path).exists():
        why = f"There is no browser at {path}; install chromium-headless-shell or set CHROMIUM."
        if os.environ.get("OPSCONSOLE_REQUIRE_BROWSER") == "1":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture(scope="package")
def console(browser: Any, sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Web, worker and beat, with the demo estate built before they start, as `script/up` does it."""
    folder = tmp_path_factory.mktemp("browser")
    variables = {
        **own_database(),
        "SANDBOX_URL": sandbox.url,
        "SANDBOX_CONTROL_TOKEN": sandbox.token,
        "OPSCONSOLE_MODE": "test",
        "OPSCONSOLE_HOME": str(folder),
        "OPSCONSOLE_GIT_ROOT": str(folder / "git"),
    }
    assert PASSWORD in manage({**os.environ, **variables}, "demo")
    with running_console(folder, **variables) as running:
        yield running


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Run `manage.py`; what it printed."""
    command = [sys.executable, "manage.py", *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="package")
def make_tenant(console: Running) -> Callable[[str], str]:
    """An empty tenant with the demo's people, by its name; its slug."""

    def make(name: str) -> str:
        lines = (
            "from opsconsole.demo.people import make_people, make_tenant",
            f"print(make_tenant({name!r}, '', make_people()).slug)",
        )
        return manage(console.environment, "shell", "-v", "0", "-c", "\n".join(lines)).strip().splitlines()[-1]

    return make


@pytest.fixture(scope="package")
def make_person(console: Running) -> Callable[..., str]:
    """Somebody with the demo's password and nothing else, by name and platform role; the address."""

    def make(name: str, role: str = "member") -> str:
        address = f"{name.lower()}@browser.example"
        lines = (
            "from opsconsole.demo.people import PASSWORD",
            "from tenants.services import create_user",
            f"create_user(email={address!r}, name={name!r}, role={role!r}, password=PASSWORD)",
        )
        manage(console.environment, "shell", "-v", "0", "-c", "\n".join(lines))
        return address

    return make


@pytest.fixture
def visit(browser: Any, console: Running) -> Iterator[Callable[..., Visitor]]:
    """Sign somebody in: ``visit("owner", width=390)``. What the browser complains about fails the test."""
    visitors: list[Visitor] = []

    def enter(who: str, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, console.url, who, **options))
        return visitors[-1]

    yield enter
    complaints = [line for visitor in visitors for line in visitor.close()]
    assert not complaints, "\n".join(complaints)
