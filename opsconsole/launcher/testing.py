"""`script/test`: services of its own, then pytest."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from .development import run_command
from .errors import LauncherError
from .home import CHECKOUT, Home, choose_home, lock_holder, pick_port
from .services import Services
from .terminal import say, step
from .toolchain import check_prerequisites, ensure_toolchain
from .up import StopRequestedError, stop_on_signals

WORKERS = "2"
TAKES_CARE_OF_WORKERS = ("-n", "--numprocesses", "--dist", "--pdb", "--collect-only", "--co", "--fixtures", "--markers")


def test(options: argparse.Namespace) -> int:
    """Run the suite (or what the arguments name) with services that live as long as it does."""
    check_prerequisites()
    base, remark = choose_home(default=".data")
    if remark:
        say(remark)
    tools = ensure_toolchain(base, kind="dev")
    home = Home(base.root / "test" / f"run-{os.getpid()}", base.user)
    try:
        with stop_on_signals():
            clear_old_runs(home.root.parent)
            services = Services(home, tools, fast=True, create_databases=True, what="script/test")
            try:
                with step("Starting PostgreSQL and Redis for the tests"):
                    base.create()
                    services.start()
                variables = {
                    **services.environment(mode="test"),
                    "OPSCONSOLE_PORT": str(pick_port(home, "web")),
                    "SANDBOX_URL": f"http://127.0.0.1:{pick_port(home, 'sandbox')}",
                    "OPSCONSOLE_ALLOWED_HOSTS": "*",
                }
                return run_command(pytest_command(tools.python, options.arguments), variables, tools, cwd=CHECKOUT)
            finally:
                if hasattr(services, "lock"):
                    services.stop()
                shutil.rmtree(home.root, ignore_errors=True)
    except StopRequestedError:
        say("Stopped.")
        return 130


def pytest_command(python: Path, arguments: list[str]) -> list[str]:
    """pytest over everything, on two processes unless the arguments say otherwise."""
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider"]
    chosen = any(part == name or part.startswith(f"{name}=") for part in arguments for name in TAKES_CARE_OF_WORKERS)
    if not chosen and not any(part.startswith("-n") and part[2:].isdigit() for part in arguments):
        command += ["-n", os.environ.get("OPSCONSOLE_TEST_WORKERS", WORKERS), "--dist", "loadgroup"]
    return [*command, *arguments]


def clear_old_runs(folder: Path) -> None:
    """Remove what test runs that were killed have left; their processes ended with them."""
    for old in folder.glob("run-*"):
        home = Home(old, choose_home(str(old))[0].user)
        if lock_holder(home) is None:
            shutil.rmtree(old, ignore_errors=True)


def lock(options: argparse.Namespace) -> int:
    """`script/lock`: write the hashed lock files anew."""
    import subprocess

    check_prerequisites()
    base, _ = choose_home(default=".data")
    tools = ensure_toolchain(base, kind="dev")
    uv = shutil.which("uv") or str(tools.folder / "bin" / "uv")
    names = options.names or ["bootstrap", "base", "dev"]
    for name in names:
        say(f"  requirements/{name}.txt …")
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-header", f"requirements/{name}.in", "-o", f"requirements/{name}.txt"]
        command += ["--upgrade"] if options.upgrade else []
        if subprocess.run(command, cwd=CHECKOUT, check=False).returncode != 0:
            raise LauncherError(f"requirements/{name}.in cannot be locked.", recovery="see uv's words above")
    return 0
