"""The launcher's command line."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from .errors import LauncherError
from .terminal import say


def main(arguments: Sequence[str]) -> int:
    """Run one command; a failure is printed in plain words with the way out."""
    options = parser().parse_args(list(arguments))
    try:
        return int(options.run(options))
    except LauncherError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except PermissionError as error:
        say(f"\nNot permitted: {error.filename or error}.\nWay out: set OPSCONSOLE_HOME to a folder of your own")
        return 1
    except OSError as error:
        say(f"\n{error.strerror or error}: {error.filename or ''}")
        say("Way out: free some space or check the folder, then start again")
        return 1


def parser() -> argparse.ArgumentParser:
    """Each command imports what it needs when it runs, so that `--help` and errors come at once."""
    top = argparse.ArgumentParser(prog="opsconsole.launcher", description="Start OpsConsole and its tests.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    from .up import add_options as add_up_options

    start = commands.add_parser("up", prog="script/up", help="start the whole console")
    add_up_options(start)
    start.set_defaults(run=run_up)

    test = commands.add_parser(
        "test", prog="script/test", add_help=False, help="run the tests; arguments go to pytest", prefix_chars="\0"
    )
    test.add_argument("arguments", nargs=argparse.REMAINDER)
    test.set_defaults(run=run_test)

    lock = commands.add_parser("lock", prog="script/lock", help="write the hashed lock files anew")
    lock.add_argument("names", nargs="*", metavar="NAME", help="bootstrap, base or dev (default: all)")
    lock.add_argument("--upgrade", action="store_true", help="take newer versions where the .in files allow them")
    lock.set_defaults(run=run_lock)

    services = commands.add_parser("services", help="only PostgreSQL and Redis; prints export lines")
    add_service_options(services)
    services.add_argument("--detach", action="store_true", help="leave them running and return")
    services.add_argument("--stop", action="store_true", help="stop the ones that run in the data folder")
    services.set_defaults(run=run_services)

    tool = commands.add_parser("tool", help="run a command of the tool chain, without services")
    tool.add_argument("--kind", default="dev", choices=["base", "dev"], help="which lock must be installed")
    tool.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND …")
    tool.set_defaults(run=run_tool)

    execute = commands.add_parser("exec", help="run a command with services and environment")
    add_service_options(execute)
    execute.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND …")
    execute.set_defaults(run=run_exec)
    return top


def add_service_options(command: argparse.ArgumentParser) -> None:
    """What `services` and `exec` have in common."""
    command.add_argument("--home", help="data folder (default: OPSCONSOLE_HOME, else .data/dev)")
    command.add_argument("--database", default="opsconsole", help="use (and make) a database of this name")
    command.add_argument("--mode", default="dev", choices=["dev", "test", "demo"], help="OPSCONSOLE_MODE to export")


def run_up(options: argparse.Namespace) -> int:
    from . import up

    return up.up(options)


def run_test(options: argparse.Namespace) -> int:
    from . import testing

    return testing.test(options)


def run_lock(options: argparse.Namespace) -> int:
    from . import testing

    return testing.lock(options)


def run_services(options: argparse.Namespace) -> int:
    from . import development

    return development.services(options)


def run_tool(options: argparse.Namespace) -> int:
    from . import development

    return development.tool(options)


def run_exec(options: argparse.Namespace) -> int:
    from . import development

    return development.execute(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
