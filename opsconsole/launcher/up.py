"""`script/up`: the whole product on one machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from .errors import LauncherError
from .files import read_json, write_json
from .filling import begin_filling
from .home import CHECKOUT, Home, HomeLock, choose_home, lock_holder, pick_port, port_free
from .prepare import prepare_database
from .processes import Child, wait_for
from .programs import beat, control, n8n_environment, sandbox, sealer, stop_n8n, web, worker
from .services import Services, program_environment
from .supervise import Supervisor
from .terminal import say, step
from .toolchain import Toolchain, check_prerequisites, ensure_toolchain, environment_folder, satisfied

DEFAULT_PORT = 8000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class StopRequestedError(BaseException):
    """SIGINT, SIGTERM or SIGHUP while starting: everything that runs is stopped on the way out."""


@dataclass
class StartPlan:
    """What this start will do, decided before anything is touched."""

    home: Home
    remark: str
    host: str
    port: int
    demo: bool
    n8n: bool
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """What a person types into the browser."""
        shown = "localhost" if self.host in ("0.0.0.0", "::", "127.0.0.1", "::1") else self.host
        return f"http://{shown}:{self.port}/"


def make_plan(options: argparse.Namespace) -> StartPlan:
    """Read options and environment; refuse what cannot work."""
    if os.environ.get("OPSCONSOLE_MODE", "demo") == "production":
        raise LauncherError(
            "script/up is for trying and developing; OPSCONSOLE_MODE is set to production.",
            recovery="run web, workers and beat apart, as docs/guide/production.md says; or unset OPSCONSOLE_MODE",
        )
    text = str(options.port or os.environ.get("OPSCONSOLE_PORT") or DEFAULT_PORT)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LauncherError(f"{text!r} is not a port.", recovery="script/up --port 8001")
    home, remark = choose_home()
    return StartPlan(
        home=home, remark=remark, host=options.host, port=int(text), demo=not options.no_demo, n8n=options.n8n
    )


def up(options: argparse.Namespace) -> int:
    """Start everything, wait, stop everything."""
    check_prerequisites()
    plan = make_plan(options)
    if plan.remark:
        say(plan.remark)
    if options.check:
        return show_plan(plan)
    if lock_holder(plan.home) is not None:
        plan.home.create()
        HomeLock(plan.home).acquire("script/up")  # says who holds it
    check_port(plan)
    say("Starting OpsConsole")
    try:
        with stop_on_signals():
            return run(plan)
    except StopRequestedError:
        say("Stopped.")
        return 0


def check_port(plan: StartPlan) -> None:
    """Name a port that is taken before anything is started."""
    if plan.port < 1024 and os.geteuid() != 0 and not port_free(plan.port, plan.host):
        raise LauncherError(
            f"Port {plan.port} cannot be used: it is taken, or below 1024 and reserved for root.",
            recovery=f"script/up --port {DEFAULT_PORT}",
        )
    if not port_free(plan.port, plan.host):
        raise LauncherError(
            f"Port {plan.port} on {plan.host} is in use by another program, or the address is not this machine's.",
            recovery=f"script/up --port {plan.port + 1}, or set OPSCONSOLE_PORT; --host 127.0.0.1 always exists",
        )


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn the first signal to end into an exception; ignore repeats while everything is being stopped."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, lambda *_: None)
        raise StopRequestedError

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(plan: StartPlan) -> int:
    """Tool chain, services, database, programs; then watch them until told to stop."""
    tools = ensure_toolchain(plan.home)
    services = Services(plan.home, tools, what="script/up")
    supervisor = Supervisor()
    try:
        with step("Starting PostgreSQL and Redis"):
            services.start()
            services.lock.describe(address=plan.address)
        if services.leftovers:
            say(f"    ended what a killed run had left: {', '.join(services.leftovers)}")
        for child in services.children():
            supervisor.add(child)
        start_programs(plan, tools, services, supervisor)
        supervisor.watch()
    finally:
        say("\nStopping …")
        supervisor.stop(except_for=services.children())
        if services.held:
            stop_n8n(
                plan.home, tools, program_environment({"OPSCONSOLE_HOME": str(plan.home.root)}, python=tools.python)
            )
            plan.home.run.joinpath("environment.json").unlink(missing_ok=True)
        services.stop()
    return 0


def start_programs(plan: StartPlan, tools: Toolchain, services: Services, supervisor: Supervisor) -> None:
    """Sandbox and migrations, then the pages; the demo fills while people sign in, and workers come last."""
    variables = variables_for(plan, services)
    environment = program_environment(variables, python=tools.python)
    if plan.n8n:
        with step("Starting three n8n instances (the first time n8n is installed, about five minutes)"):
            extra = n8n_environment(tools, environment)
        variables |= extra
        environment |= extra
    if (CHECKOUT / "sandbox" / "__main__.py").exists():
        with step("Starting the sandbox"):
            child = sandbox(plan.home, tools, environment)
            supervisor.add(child).start()
            await_http(child, f"{variables['SANDBOX_URL']}/")
    prepare_database(plan.home, tools, services.postgres, environment)
    write_json(plan.home.run / "environment.json", dict(variables))
    filling = begin_filling(plan.home, tools, services.postgres, environment, supervisor) if plan.demo else None
    others = [supervisor.add(make(plan.home, tools, environment)) for make in (worker, control, beat, sealer)]
    with step("Starting the console"):
        page = supervisor.add(web(plan.home, tools, environment, host=plan.host, port=plan.port))
        page.start()
        if filling is None:
            start_all(others)
        await_http(page, sign_in_page(plan), answers_well=True)
        if filling is not None:
            filling.await_accounts()
    say_ready(plan, variables)
    if filling is not None:
        filling.await_end(supervisor)
        start_all(others)


def start_all(children: Sequence[Child]) -> None:
    """Each of them, without waiting."""
    for child in children:
        child.start()


def sign_in_page(plan: StartPlan) -> str:
    """Where the launcher itself finds it."""
    reach = "127.0.0.1" if plan.host in ("0.0.0.0", "localhost") else plan.host
    return f"http://{f'[{reach}]' if ':' in reach else reach}:{plan.port}/account/login/"


def variables_for(plan: StartPlan, services: Services) -> dict[str, str]:
    """The environment of a demo; what a person has set themselves wins where that is harmless."""
    port = pick_port(plan.home, "sandbox", 8099)
    open_to_all = plan.host not in LOOPBACK
    hosts = "*" if open_to_all else "localhost,127.0.0.1,[::1]"
    return {
        **services.environment(mode="demo"),
        "OPSCONSOLE_PORT": str(plan.port),
        "OPSCONSOLE_ALLOWED_HOSTS": os.environ.get("OPSCONSOLE_ALLOWED_HOSTS") or hosts,
        "OPSCONSOLE_ORIGINS": os.environ.get("OPSCONSOLE_ORIGINS", ""),
        "SANDBOX_URL": f"http://127.0.0.1:{port}",
    }


def await_http(child: Child, url: str, *, answers_well: bool = False, seconds: float = 60.0) -> None:
    """Wait until a program answers HTTP at all (or without a fault of its own); name it when it ends instead."""
    last = ""
    refused: list[bool] = []

    def answers() -> bool:
        nonlocal last
        if not child.running():
            return True
        try:
            with urllib.request.urlopen(url, timeout=10):
                return True
        except urllib.error.HTTPError as error:
            last = f"it answers {error.code}"
            refused.append(answers_well and error.code >= 500 and error.code != 503)
            return not answers_well or error.code != 503
        except OSError as error:
            last = str(error)
            return False

    if wait_for(answers, seconds=seconds, pause=0.1) and child.running() and not any(refused):
        return
    how = child.exit_reason() if not child.running() else f"does not answer at {url} ({last})"
    raise LauncherError(f"{child.name} {how}.", log=child.last_words(), recovery=f"the whole log is {child.log}")


def say_ready(plan: StartPlan, variables: dict[str, str]) -> None:
    """The address, the accounts, and how it ends."""
    say(f"\nOpsConsole is at {plan.address}")
    if plan.host not in LOOPBACK:
        say("It is reachable from other machines, with demo accounts: keep it off networks you do not trust.")
    try:
        accounts = (plan.home.root / "demo.txt").read_text(encoding="utf-8").strip()
    except OSError:
        accounts = ""
    if accounts:
        say(f"\n{accounts}\n")
    say_where_n8n_is(plan, variables)
    say(f"Logs: {plan.home.logs}   Data: {plan.home.root}")
    say("Ctrl-C stops it.")


def say_where_n8n_is(plan: StartPlan, variables: dict[str, str]) -> None:
    """The real instances and how to sign in there; a word where the demo was made for the other kind."""
    instances = json.loads(variables.get("N8N_INSTANCES", "[]"))
    for one in instances:
        say(f"n8n {one['name'] + ':':<12}{one['base_url']}")
    if instances:
        say(f"Their owner's address and password: {plan.home.root}/n8n-instances/NAME/owner.json\n")
    made_for_n8n = (read_json(plan.home.root / "demo.json") or {}).get("n8n")
    if instances and made_for_n8n is False:
        say("The demo estate was made on the sandbox and stays there. To have it on real n8n: another OPSCONSOLE_HOME.")
    if not instances and made_for_n8n:
        say("Larkfield Outdoors lives on real n8n instances, which do not run now: start with --n8n to reach them.")


def show_plan(plan: StartPlan) -> int:
    """`--check`: say what a start would do, and do nothing."""
    folder = environment_folder(plan.home)
    holder = lock_holder(plan.home)
    lines = [
        ("data folder", str(plan.home.root)),
        ("database", "there" if (plan.home.postgres / "PG_VERSION").exists() else "will be made"),
        ("PostgreSQL and Redis run as", plan.home.user.name),
        ("tool chain", f"{folder} ({'complete' if satisfied(folder, 'base') else 'will be installed'})"),
        ("address", plan.address + ("" if port_free(plan.port, plan.host) else " (port in use)")),
        ("demo", "yes, if the database is empty" if plan.demo else "no"),
        ("n8n", "three real instances" if plan.n8n else "the sandbox"),
        ("running already", f"{holder.get('what')}, process {holder.get('pid')}" if holder else "no"),
    ]
    for name, value in lines:
        print(f"{name + ':':<30}{value}")
    return 0


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `script/up`."""
    command.add_argument("--port", help=f"port of the console (default: OPSCONSOLE_PORT, else {DEFAULT_PORT})")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    command.add_argument("--no-demo", action="store_true", help="leave an empty database empty")
    command.add_argument("--n8n", action="store_true", help="use three real n8n instances (needs Node and npm)")
    command.add_argument("--check", action="store_true", help="say what would be done, and do nothing")


__all__ = ["add_options", "up"]
