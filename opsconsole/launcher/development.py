"""Services without the product: for developing, and for single commands."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from .errors import LauncherError
from .files import tail
from .home import CHECKOUT, Home, choose_home, lock_holder
from .processes import start_time, wait_for
from .services import Services, attach, export_lines, program_environment
from .terminal import say
from .toolchain import Toolchain, check_prerequisites, ensure_toolchain, own_toolchain


def development_tools() -> Toolchain:
    """The environment we run in if it has the services, else the checkout's, made if need be."""
    own = own_toolchain()
    try:
        own.postgres_binaries()
    except LauncherError:
        check_prerequisites()
        return ensure_toolchain(choose_home()[0], kind="dev")
    return own


def services(options: argparse.Namespace) -> int:
    """`services`: in the foreground until Ctrl-C, or detached; prints export lines either way."""
    home, remark = choose_home(options.home, default=".data/dev")
    if remark:
        say(remark)
    if options.stop:
        return stop_services(home)
    tools = development_tools()
    running = attach(home, tools, mode=options.mode, database=options.database)
    if running is not None:
        print(export_lines(running), end="", flush=True)
        return 0
    if options.detach:
        return detach(home, tools, options)
    ending = end_on_signals()
    held = Services(home, tools, fast=True, create_databases=True, what="services")
    held.start(database=options.database)
    try:
        print(export_lines(held.environment(mode=options.mode, database=options.database)), end="", flush=True)
        while not ending.wait(0.5):
            for child in held.children():
                if not child.running():
                    raise LauncherError(f"{child.name} {child.exit_reason()}.", log=child.last_words())
    finally:
        held.stop()
    return 0


def end_on_signals() -> threading.Event:
    """An event that SIGINT, SIGTERM and SIGHUP set."""
    ending = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    return ending


def detach(home: Home, tools: Toolchain, options: argparse.Namespace) -> int:
    """Start a second launcher that stays, wait until it serves, and print where."""
    home.create()
    log = home.logs / "services.log"
    command = [str(tools.python), "-m", "opsconsole.launcher", "services", "--home", str(home.root)]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*command, "--database", options.database, "--mode", options.mode],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
    wait_for(lambda: process.poll() is not None or home.state_file.exists(), seconds=90)
    for _ in range(100):
        # Another detached start may have won the race: then its services are the ones to use.
        if home.state_file.exists() and lock_holder(home) is not None:
            found = attach(home, tools, mode=options.mode, database=options.database)
            if found is not None:
                print(export_lines(found), end="", flush=True)
                return 0
        time.sleep(0.1)
    raise LauncherError("The services did not start.", log=tail(log), recovery=f"the whole log is {log}")


def stop_services(home: Home) -> int:
    """End the services of a data folder, if it is `services` that holds it."""
    holder = lock_holder(home)
    if holder is None:
        say("Nothing runs there.")
        return 0
    if holder.get("what") != "services":
        raise LauncherError(f"{home.root} is used by {holder.get('what')}.", recovery="end that one with Ctrl-C")
    pid = int(holder["pid"])
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: start_time(pid) is None, seconds=40)
    return 0


def tool(options: argparse.Namespace) -> int:
    """`tool -- COMMAND`: with the tool chain on the path, and nothing started."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LauncherError("There is no command to run.", recovery="tool -- ruff check")
    check_prerequisites()
    home, _ = choose_home()
    tools = ensure_toolchain(home, kind=options.kind)
    return run_command(command, {"OPSCONSOLE_MODE": os.environ.get("OPSCONSOLE_MODE") or "dev"}, tools)


def execute(options: argparse.Namespace) -> int:
    """`exec -- COMMAND`: with the services that run, or with ones that live as long as the command."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LauncherError("There is no command to run.", recovery="exec -- python manage.py check")
    home, remark = choose_home(options.home, default=".data/dev")
    if remark:
        say(remark)
    tools = development_tools()
    running = attach(home, tools, mode=options.mode, database=options.database)
    if running is not None:
        return run_command(command, running, tools)
    held = Services(home, tools, fast=True, create_databases=True, what="exec")
    held.start(database=options.database)
    try:
        return run_command(command, held.environment(mode=options.mode, database=options.database), tools)
    finally:
        held.stop()


def run_command(command: list[str], variables: dict[str, str], tools: Toolchain, *, cwd: Path | None = None) -> int:
    """Run a command in the foreground, with the terminal. Ctrl-C is its business; SIGTERM is passed on."""
    environment = program_environment(variables, python=tools.python)
    try:
        process = subprocess.Popen(command, env=environment, cwd=cwd)
    except OSError as error:
        raise LauncherError(f"{command[0]} cannot be started: {error.strerror}.") from error
    before = {number: signal.signal(number, lambda got, _: process.send_signal(got)) for number in (signal.SIGTERM,)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.stdout.flush()
    return 128 - code if code < 0 else code
