"""The demo estate of an empty database: filled while the first person signs in.

Workers wait until it is complete: the demo carries its own jobs through, in the order of its story.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import programs
from .errors import LauncherError
from .files import read_json, write_json
from .home import Home
from .postgres import DATABASE, Postgres
from .processes import Child, wait_for
from .supervise import Supervisor
from .terminal import say, step
from .toolchain import Toolchain

ACCOUNTS_WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class Filling:
    """The program that fills, and where its state is noted for the next start."""

    home: Home
    child: Child
    on_real_n8n: bool

    def await_accounts(self) -> None:
        """Until people can sign in, or it has failed already."""
        accounts = self.home.root / "demo.txt"
        wait_for(lambda: accounts.exists() or not self.child.running(), seconds=ACCOUNTS_WITHIN_SECONDS)

    def await_end(self, supervisor: Supervisor) -> None:
        """Until it is complete. Where it fails that is said, and the rest goes on without it."""
        with step("Filling the demo estate; pages say how far it is"):
            supervisor.watch(until=lambda: not self.child.running())
        if self.child.process is not None and self.child.process.returncode == 0:
            write_json(self.home.root / "demo.json", {"state": "done", "n8n": self.on_real_n8n})
            say("The demo estate is complete.")
            return
        failure = LauncherError(
            f"The demo estate is not complete: its program {self.child.exit_reason()}.",
            log=self.child.last_words(),
            recovery=f"the whole log is {self.child.log}; the next start fills it anew",
        )
        say(f"\n{failure}\nThe console keeps running with what there is.")


def begin_filling(
    home: Home, tools: Toolchain, postgres: Postgres, environment: Mapping[str, str], supervisor: Supervisor
) -> Filling | None:
    """Start filling an empty database, or one that the last run did not finish; None where there is nothing to do."""
    note = home.root / "demo.json"
    begun = (read_json(note) or {}).get("state") == "begun"
    filled = postgres.psql("SELECT EXISTS (SELECT FROM tenants)", database=DATABASE).strip() == "t"
    if filled and not begun:
        return None
    write_json(note, {"state": "begun"})
    (home.root / "demo.txt").unlink(missing_ok=True)
    child = programs.demo(home, tools, environment)
    supervisor.stop_with(child)
    child.start()
    return Filling(home, child, on_real_n8n="N8N_INSTANCES" in environment)
