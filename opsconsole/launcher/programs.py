"""The programs of the product, as children of the launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import LauncherError
from .home import CHECKOUT, Home
from .processes import Child
from .toolchain import Toolchain

#: Secrets, and which program gets which. What is named nowhere here, every program gets.
NEEDED_BY: dict[str, frozenset[str]] = {
    "DATABASE_URL": frozenset({"web", "worker", "control", "beat", "sealer", "demo"}),
    "BROKER_URL": frozenset({"web", "worker", "control", "beat", "sealer", "demo"}),
    "OPSCONSOLE_SECRET_KEY": frozenset({"web", "worker", "control", "beat", "sealer", "demo"}),
    "OPSCONSOLE_FIELD_KEYS": frozenset({"web", "worker", "control", "beat", "sealer", "demo"}),
    "OPSCONSOLE_SEAL_KEY": frozenset({"sealer"}),
    "DATABASE_OWNER_URL": frozenset(),
    "DATABASE_OPERATOR_URL": frozenset(),
    "SANDBOX_CONTROL_TOKEN": frozenset({"sandbox", "demo"}),
}


def environment_of(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """What one program gets of the environment: of the secrets only those that it needs."""
    return {key: value for key, value in env.items() if key not in NEEDED_BY or name in NEEDED_BY[key]}


def _child(home: Home, name: str, argv: list[str], env: Mapping[str, str], **options: object) -> Child:
    # The service's folders are ours alone, so the log file's name is all that tells programs apart.
    env = environment_of(name, env)
    settings = {"cwd": CHECKOUT, "log": home.logs / f"{name}.log", "pid_folder": home.pids, **options}
    return Child(name=name, argv=argv, env=env, **settings)  # type: ignore[arg-type]


def web(home: Home, tools: Toolchain, env: Mapping[str, str], *, host: str, port: int) -> Child:
    """The pages and the API. WEB_CONCURRENCY sets the number of processes (uvicorn's own variable)."""
    argv = [str(tools.python), "-m", "uvicorn", "opsconsole.asgi:application", "--host", host, "--port", str(port)]
    argv += ["--lifespan", "off", "--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3"]
    argv += ["--no-proxy-headers"]  # what a proxy's headers are worth, the settings say
    return _child(home, "web", argv, env)


def _celery(tools: Toolchain, *arguments: str) -> list[str]:
    return [str(tools.python), "-m", "celery", "-A", "opsconsole.celery:app", *arguments]


def worker(home: Home, tools: Toolchain, env: Mapping[str, str]) -> Child:
    """Runs operations. An orphan stops at once: its operations are taken over when their lease ends."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    size = os.environ.get("OPSCONSOLE_WORKERS", "3")
    argv = _celery(tools, "worker", "-Q", "operations", "-c", size, "-n", "operations@%h", *quiet)
    return _child(home, "worker", argv, env, orphan_signal=signal.SIGQUIT, grace=10.0, essential=False)


def control(home: Home, tools: Toolchain, env: Mapping[str, str]) -> Child:
    """Runs the reaper and schedules on a queue of their own, so that long work never holds them up."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
    argv = _celery(tools, "worker", "-Q", "control", "-P", "solo", "-n", "control@%h", *quiet)
    return _child(home, "control", argv, env, orphan_signal=signal.SIGQUIT, grace=6.0, essential=False)


def sealer(home: Home, tools: Toolchain, env: Mapping[str, str]) -> Child:
    """Seals the trail: the only program that has the key."""
    argv = [str(tools.python), str(CHECKOUT / "manage.py"), "seal_trail", "--every", "60"]
    return _child(home, "sealer", argv, env, essential=False)


def beat(home: Home, tools: Toolchain, env: Mapping[str, str]) -> Child:
    """Wakes what is due. Its own memory is a file that may be lost."""
    argv = _celery(tools, "beat", "-l", "WARNING", "--pidfile=", "-s", str(home.run / "beat-schedule"))
    return _child(home, "beat", argv, env, essential=False)


def demo(home: Home, tools: Toolchain, env: Mapping[str, str]) -> Child:
    """Fills the demo estate, once, and ends."""
    argv = [str(tools.python), str(CHECKOUT / "manage.py"), "demo", "--accounts", str(home.root / "demo.txt")]
    return _child(home, "demo", argv, env, essential=False)


def sandbox(home: Home, tools: Toolchain, env: Mapping[str, str]) -> Child:
    """The n8n look-alike that the demo talks to."""
    port = urlsplit(env["SANDBOX_URL"]).port
    argv = [str(tools.python), "-m", "sandbox", "--port", str(port), "--data", str(home.sandbox)]
    return _child(home, "sandbox", argv, env, essential=False)


def n8n_environment(tools: Toolchain, env: Mapping[str, str]) -> dict[str, str]:
    """Start three real n8n instances (installing n8n if need be) and say where they are: N8N_INSTANCES, JSON.

    What the installation tells of its progress goes straight to the terminal.
    """
    command = [str(tools.python), "-m", "sandbox.live", "start", "3"]
    result = subprocess.run(command, env=dict(env), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise LauncherError(
            "The n8n instances did not start; see the lines above.",
            recovery="do as the lines above say (script/n8n install needs Node and npm), or start without --n8n",
        )
    return {"N8N_INSTANCES": json.dumps(json.loads(result.stdout))}


def stop_n8n(home: Home, tools: Toolchain, env: Mapping[str, str]) -> None:
    """End the real n8n instances of this data folder, also those that a killed run has left."""
    if not (home.root / "n8n-instances" / "instances.json").exists():
        return
    command = [str(tools.python), "-m", "sandbox.live", "stop"]
    subprocess.run(command, env=dict(env), cwd=CHECKOUT, stdout=subprocess.DEVNULL, check=False)
