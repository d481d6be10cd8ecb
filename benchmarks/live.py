"""A capture of a real n8n beside what one would do without the console: its own export, ``git add``, ``git commit``.

    script/bench live [--version 2.41.1] [--workflows 900] [--pairs 3]        (script/n8n install first)

Both ways take turns on the same instance. n8n 2.41.1 on SQLite exports about a thousand workflows at most and fails
beyond ("Expression tree is too large"), so it is measured with 900. The export starts n8n's command line each time, as
a nightly job would.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sandbox.live import NEWEST

from .bare import Bare
from .setup import (
    alternating,
    drive,
    environment_of,
    fresh_tenant,
    own_git_root,
    ratio_row,
    save,
    start_django,
    table,
    timed,
)

TARGET = 0.5


def export(program: Path, data: Path, repository: Path, *, version: str) -> None:
    """``n8n export:workflow --backup`` into a work tree, and a commit."""
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    from sandbox.live import environment as node_environment

    environment = {
        **node_environment(version),
        "N8N_USER_FOLDER": str(data),
        "N8N_DIAGNOSTICS_ENABLED": "false",
    }
    environment["N8N_RUNNERS_BROKER_PORT"] = "0"
    command = [str(program), "export:workflow", "--backup", f"--output={repository / 'workflows'}"]
    ended = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"n8n's own export failed: {ended.stdout[-1000:]} {ended.stderr[-1000:]}")
    git = ["git", "-C", str(repository), "-c", "user.name=Bench", "-c", "user.email=bench@invalid"]
    subprocess.run([*git, "add", "-A"], check=True, **quiet)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Export"], check=True, **quiet)


def _machine() -> str:
    """How busy the machine was: a capture keeps two cores busy, the export one, so that others cost it more."""
    return f"\nLoad of the machine over the last 15 minutes: {os.getloadavg()[2]:.1f}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench live")
    parser.add_argument("--workflows", type=int, default=900)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--version", default=NEWEST)
    options = parser.parse_args()
    start_django()
    from sandbox.generate import estate
    from sandbox.live import LiveN8n, install_folder
    from snapshots.services import start_capture
    from workflows.gateway import address_policy
    from workflows.n8n import N8nClient

    live = LiveN8n(1, version=options.version)
    program = install_folder(options.version) / "node_modules" / ".bin" / "n8n"
    with own_git_root(), live as (instance,), tempfile.TemporaryDirectory(prefix="export-") as folder:
        with N8nClient(base_url=instance.base_url, api_key=instance.api_key, policy=address_policy()) as client:
            for _, workflow in estate(options.workflows):
                client.create_workflow(workflow)
        data = Path(live._data.name) / instance.name

        def place() -> Any:
            tenant, _ = fresh_tenant()
            return environment_of(tenant, base_url=instance.base_url, api_key=instance.api_key, name="live")

        def repository() -> Path:
            made = Path(tempfile.mkdtemp(dir=folder))
            subprocess.run(["git", "init", "-q", str(made)], check=True)
            (made / "workflows").mkdir()
            return made

        def ours(environment: Any) -> float:
            operation = start_capture(tenant_id=environment.tenant_id, environment_id=environment.pk, requested_by=None)
            return timed(lambda: drive(operation))

        def theirs(into: Path) -> float:
            return timed(lambda: export(program, data, into, version=options.version))

        environment, known = place(), repository()
        ours(environment), theirs(known)
        first = alternating(options.pairs, lambda: ours(place()), lambda: theirs(repository()))
        again = alternating(options.pairs, lambda: ours(environment), lambda: theirs(known))
        bare = Bare(instance.api_url, {"X-N8N-API-KEY": instance.api_key, "Accept-Encoding": "identity"})
        floor = alternating(
            options.pairs, lambda: timed(lambda: sum(1 for _ in bare.workflows())), lambda: theirs(known)
        )
        bare.close()
    rows = [
        ratio_row(f"first, {options.workflows:,} workflows", first, TARGET),
        ratio_row("again, nothing changed", again, TARGET),
        ratio_row("only reading the list through the same API (instead of OpsConsole)", floor, None),
    ]
    head = [
        "capture of a real n8n",
        "OpsConsole",
        "export + git add + git commit",
        "ratio",
        "each pair",
        "processor time of both",
        "target",
        "",
    ]
    command = f"script/bench live --version {options.version} --pairs {options.pairs}" + (
        "" if options.workflows == 900 else f" --workflows {options.workflows}"
    )
    save(
        f"live-{options.version}",
        command=command,
        title=f"A capture of a real n8n {live.version}",
        body=table(head, rows) + _machine(),
    )


if __name__ == "__main__":
    main()
