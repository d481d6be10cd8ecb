"""The command line, and what it remembers of the instances that it began."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from . import scratch
from .defaults import node_defaults
from .errors import LiveN8nError
from .installs import install, install_folder, installed, node_folder
from .instances import (
    LaunchTarget,
    LiveInstance,
    alive,
    end,
    free_port,
    launch_all,
    name_of,
    port_free,
    port_of,
    write_private,
)
from .versions import DEFAULT_VERSION, KNOWN, NEWEST, OLDEST, numbers, recipe_of

FIRST_PORT = 5701
ROOT = Path(__file__).resolve().parents[2]
_OURS = ("started", "variables")


def home() -> Path:
    return Path(os.environ.get("OPSCONSOLE_HOME") or ROOT / ".data")


def _state_file() -> Path:
    return home() / "n8n-instances" / "instances.json"


def read_state() -> list[LiveInstance]:
    """What `start` began, running or not."""
    path = _state_file()
    if not path.exists():
        return []
    # Before there were several versions, all were of the oldest that is known.
    return [LiveInstance(**{"version": OLDEST} | item) for item in json.loads(path.read_text())]


def write_state(instances: list[LiveInstance]) -> None:
    _state_file().parent.mkdir(parents=True, exist_ok=True)
    write_private(_state_file(), [asdict(instance) for instance in instances])


def command_install(version: str, *, everything: bool) -> None:
    for each in KNOWN if everything else [version]:
        print(f"n8n {each} is installed in {install(each)}.")


def command_start(count: int, version: str | None, first_port: int | None) -> None:
    """An instance keeps its port, its key and its version for as long as its data: consoles know it by them."""
    known = {instance.name: instance for instance in read_state()}
    wanted = _versions_to_start(count, version, known)
    for each in sorted(set(wanted.values())):
        install(each)
    targets = _targets(wanted, known, first_port)

    def begun(instance: LiveInstance) -> None:
        known[instance.name] = replace(instance)
        write_state(list(known.values()))

    launch_all(targets, begun=begun)
    running = [asdict(known[name_of(number)]) for number in range(count)]
    print(json.dumps([{k: v for k, v in one.items() if k not in _OURS} for one in running], indent=2))


def _versions_to_start(count: int, version: str | None, known: Mapping[str, LiveInstance]) -> dict[int, str]:
    """Number to version of the instances that do not run yet; one that is to be upgraded is ended."""
    wanted = {}
    for number in range(count):
        name = name_of(number)
        before = known.get(name)
        chosen = version_for(name, before, version)
        if before is not None and alive(before):
            if before.version == chosen:
                continue
            print(f"Stopping n8n '{name}' {before.version} to upgrade it ...", file=sys.stderr, flush=True)
            end(before.pid)
        wanted[number] = chosen
    return wanted


def _targets(
    wanted: Mapping[int, str], known: Mapping[str, LiveInstance], first_port: int | None
) -> list[LaunchTarget]:
    taken = {port_of(instance) for instance in known.values()}
    targets = []
    for number, chosen in wanted.items():
        name = name_of(number)
        before = known.get(name)
        print(f"Starting n8n '{name}' {chosen} ...", file=sys.stderr, flush=True)
        port = _port_for(name, before, (first_port or FIRST_PORT) + number, taken, chosen=first_port is not None)
        taken.add(port)
        data = _state_file().parent / name
        targets.append(LaunchTarget(name, data, port, before.api_key if before else "", version=chosen))
    return targets


def version_for(name: str, before: LiveInstance | None, asked: str | None) -> str:
    """The version that an instance runs: that of its data, or a newer one that was asked for. Raises LiveN8nError."""
    if before is None:
        return recipe_of(asked or DEFAULT_VERSION).version
    if asked is None or asked == before.version:
        return before.version
    if numbers(asked) < numbers(before.version):
        raise LiveN8nError(
            f"The data of n8n '{name}' is of {before.version}, which {asked} cannot read. Leave --version out; or take"
            f" another data folder with OPSCONSOLE_HOME; or delete {_state_file().parent} to begin with empty ones."
        )
    return asked


def _port_for(name: str, before: LiveInstance | None, wanted: int, taken: set[int], *, chosen: bool) -> int:
    if before is not None and not chosen:
        wanted = port_of(before)
    elif not chosen and (wanted in taken or not port_free(wanted)):
        return free_port()
    if not port_free(wanted):
        raise LiveN8nError(
            f"Port {wanted}, where n8n '{name}' belongs, is taken by another program. End that program; or move the"
            " instances with `script/n8n start --first-port PORT` and change their addresses in the console."
        )
    return wanted


def command_stop() -> None:
    for instance in read_state():
        if alive(instance):
            end(instance.pid)
            print(f"Stopped n8n '{instance.name}'.")


def command_status() -> int:
    found = read_state()
    for version in dict.fromkeys([DEFAULT_VERSION, *(instance.version for instance in found)]):
        folder = install_folder(version)
        print(f"install of {version}: {'ready' if installed(folder) else 'missing'} ({folder})")
    for instance in found:
        state = "running" if alive(instance) else "stopped"
        print(f"{instance.name}: {state} {instance.version} {instance.base_url}")
    return 0 if found and all(alive(instance) for instance in found) else 1


def command_versions() -> None:
    for version, recipe in KNOWN.items():
        state = "installed" if installed(install_folder(version)) else "not installed"
        node = "the machine's" if node_folder(recipe) is None else f"{recipe.fallback_node} from npm"
        default = ", default" if version == DEFAULT_VERSION else ""
        print(f"{version}: {state}{default}; Node: {node}")
    print("Other versions are tried with the recipe of the nearest of these.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/n8n", description="Real n8n instances for tests and demonstrations.")
    commands = parser.add_subparsers(dest="command", required=True)
    put = commands.add_parser("install", help="install a version; reuses what is there, mends what is broken")
    put.add_argument("--version", default=DEFAULT_VERSION, help=f"default: {DEFAULT_VERSION}")
    put.add_argument("--all", action="store_true", help="every version that is known")
    start = commands.add_parser("start", help="start instances and print their addresses and keys as JSON")
    start.add_argument("count", type=int, nargs="?", default=3)
    start.add_argument("--version", help=f"default: that of the data, else {DEFAULT_VERSION}; a newer one upgrades")
    start.add_argument("--first-port", type=int, help=f"one port after the other from here (default: {FIRST_PORT})")
    commands.add_parser("stop", help="stop what `start` began")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("versions", help="say which versions are known and which are installed")
    commands.add_parser("defaults", help="print what node parameters default to, for workflows/node_defaults.json")
    one = commands.add_parser("scratch", help="one isolated instance, until standard input closes")
    one.add_argument("--version", default=DEFAULT_VERSION)
    one.add_argument("--data", type=Path, required=True, help="its folder")
    one.add_argument("--port", type=int, required=True)
    one.add_argument("--json", action="store_true", required=True, help="print where it is as one line of JSON")
    return parser


def main(words: list[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    try:
        if arguments.command == "install":
            command_install(arguments.version, everything=arguments.all)
        elif arguments.command == "start":
            command_start(arguments.count, arguments.version, arguments.first_port)
        elif arguments.command == "stop":
            command_stop()
        elif arguments.command == "versions":
            command_versions()
        elif arguments.command == "defaults":
            sys.stdout.write(node_defaults([OLDEST, NEWEST]))
        elif arguments.command == "scratch":
            scratch.run(arguments.version, arguments.data.resolve(), arguments.port)
        else:
            return command_status()
    except LiveN8nError as error:
        print(f"script/n8n: {error}", file=sys.stderr)
        return 1
    return 0
