"""One n8n that reaches nothing but itself, in the foreground, for rehearsals of an upgrade.

It has a data folder of its own and no variable of ours. A script that Node loads first refuses every connection but
those to its own two ports, whatever asks for it; programs that n8n might start are turned away by a proxy that is not
there. It ends when standard input closes, on SIGTERM, and with its parent.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from .errors import LiveN8nError
from .installs import install
from .instances import LaunchTarget, LiveInstance, alive, end, free_port, launch, port_free

GUARD = Path(__file__).with_name("no_network.cjs")
_NOWHERE = "http://127.0.0.1:9"
_LOOK_EVERY = 1.0


class _EndedError(BaseException):
    """SIGTERM, SIGINT or SIGHUP."""


def isolation(port: int, broker_port: int) -> dict[str, str]:
    """The variables that keep an n8n from reaching anything but its own two ports."""
    off = (
        "N8N_COMMUNITY_PACKAGES_ENABLED",
        "N8N_VERIFIED_PACKAGES_ENABLED",
        "N8N_UNVERIFIED_PACKAGES_ENABLED",
        "N8N_DYNAMIC_BANNERS_ENABLED",
        "N8N_LICENSE_AUTO_RENEW_ENABLED",
        "N8N_HIRING_BANNER_ENABLED",
    )
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
    return {
        **dict.fromkeys(off, "false"),
        **proxies,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "N8N_RUNNERS_BROKER_PORT": str(broker_port),
        "NODE_OPTIONS": f'--require "{GUARD}"',
        "OPSCONSOLE_OWN_PORTS": f"{port},{broker_port}",
    }


def run(version: str, data: Path, port: int) -> None:
    """Install the version if need be, start it, print where it is as one line of JSON, and wait for the end.

    The line has `base_url`, `api_key`, `version` and `pid`. Raises LiveN8nError.
    """
    if not port_free(port):
        raise LiveN8nError(f"Port {port} is taken by another program. Name another one with --port.")
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    begun: list[LiveInstance] = []
    try:
        install(version)
        target = LaunchTarget("scratch", data, port, version=version, variables=isolation(port, free_port()))
        instance = launch(target, begun.append, die_with_us=True)
        shown = {key: value for key, value in asdict(instance).items() if key in _SHOWN}
        print(json.dumps(shown), flush=True)
        _wait_for_the_end(instance)
    except _EndedError:
        pass
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        for each in begun[-1:]:
            if alive(each):
                end(each.pid)
        for number, handler in before.items():
            signal.signal(number, handler)


_SHOWN = ("base_url", "api_key", "version", "pid")


def _stop(number: int, frame: FrameType | None) -> None:
    raise _EndedError


def _wait_for_the_end(instance: LiveInstance) -> None:
    """Until standard input is closed; raises LiveN8nError if n8n ends first."""
    source = sys.stdin.fileno()
    while True:
        if not alive(instance):
            text = Path(instance.data, "n8n.log").read_text(errors="replace")
            raise LiveN8nError(f"n8n {instance.version} ended by itself. Its last words:\n{text[-1500:]}")
        if select.select([source], [], [], _LOOK_EVERY)[0] and not os.read(source, 4096):
            return
