"""``python -m sandbox``: serve the sandbox until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .app import TRANSPORT, Sandbox
from .profiles import DEFAULT_PROFILE, PROFILES

TOKEN_VARIABLE = "SANDBOX_CONTROL_TOKEN"  # noqa: S105 - the name of a variable


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Hands the application its connection, so that a fault can cut it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner: Any = self.app  # type: ignore[has-type]

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[TRANSPORT] = self.transport
            await inner(scope, receive, send)

        self.app = with_transport


def read_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="An n8n look-alike for demos, tests and load."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5680, help="0 takes a free one; the first line printed says which")
    parser.add_argument("--data", type=Path, help="keep the state in this folder over restarts")
    parser.add_argument(
        "--seed-file", type=Path, help="JSON: {instance: {api_key?, profile?, workflows?, credentials?}}"
    )
    parser.add_argument("--control-token", default=os.environ.get(TOKEN_VARIABLE), help=f"or {TOKEN_VARIABLE}")
    return parser.parse_args(words)


def seed(sandbox: Sandbox, path: Path) -> None:
    """Make the instances of a seed file that are not there yet."""
    for name, wanted in orjson.loads(path.read_bytes()).items():
        if name in sandbox.world.instances:
            continue
        profile = wanted.get("profile", DEFAULT_PROFILE)
        if profile not in PROFILES:
            raise SystemExit(f"{path}: profile must be one of {', '.join(PROFILES)}")
        instance = sandbox.world.create(name, api_key=wanted.get("api_key"), profile=profile)
        for credential in wanted.get("credentials", ()):
            instance.add_credential(credential)
        for raw in wanted.get("workflows", ()):
            instance.add(raw, workflow_id=raw.get("id"), active=bool(raw.get("active")))


def main(words: list[str] | None = None) -> None:
    arguments = read_arguments(words)
    token = arguments.control_token or secrets.token_urlsafe(24)
    sandbox = Sandbox(control_token=token, data=arguments.data)
    if arguments.seed_file:
        seed(sandbox, arguments.seed_file)
    listener = socket.create_server((arguments.host, arguments.port), backlog=512)
    # asyncio sets this only on sockets that name TCP as their protocol, which those of `create_server` do not: without
    # it the second half of every answer waits 40 ms for the client's acknowledgement. Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = listener.getsockname()[1]
    started: dict[str, Any] = {"url": f"http://{arguments.host}:{port}", "port": port, "pid": os.getpid()}
    if not arguments.control_token:
        started["control_token"] = token
    print(json.dumps(started), flush=True)
    config = uvicorn.Config(
        sandbox,
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        timeout_keep_alive=30,
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
    sys.exit(0)


if __name__ == "__main__":
    main()
