"""The n8n that a rehearsal runs on: started by a command, ended by closing its standard input.

Whatever ends this process, its end of the pipe closes with it, and the command ends what it started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from django.conf import settings

from workflows.n8n import AddressPolicy, N8nClient

from .errors import OneAtATime, RehearsalTooLong, ScratchUnavailable

#: Nothing of the console's own reaches the command: no database, no keys.
_PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "USER", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
_PASSED_STARTS = ("LC_", "npm_config_", "NPM_CONFIG_", "XDG_")
_PASSED_OURS = ("OPSCONSOLE_N8N_DIR", "OPSCONSOLE_PYTHON", "OPSCONSOLE_TOOLCHAIN_DIR", "OPSCONSOLE_HOME")
ENDS_WITHIN = 30.0
WORDS_KEPT = 1500


class Running(msgspec.Struct, frozen=True):
    """What the command says in its one line of JSON."""

    base_url: str
    api_key: str
    version: str = ""
    pid: int = 0


@contextlib.contextmanager
def alone() -> Iterator[Path]:
    """The folder of rehearsals, held by one job of this machine at a time. What earlier ones left is swept out."""
    root = Path(settings.REHEARSALS_ROOT)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OneAtATime from error
        for left in root.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield root


@contextlib.contextmanager
def scratch(
    version: str, folder: Path, *, deadline: float, check: Callable[[], None]
) -> Iterator[tuple[Running, N8nClient]]:
    """An n8n of ``version`` for as long as the block lasts, and a client to it.

    ``deadline`` is by ``time.monotonic``; ``check`` is called while it starts, and may raise. Raises
    ``ScratchUnavailable`` with the command's last words, ``RehearsalTooLong``.
    """
    folder.mkdir(mode=0o700)
    words = folder / "command.log"
    data = folder / "data"
    command = [*shlex.split(settings.REHEARSAL_COMMAND), "--version", version, "--data", str(data)]
    with words.open("wb") as errors:
        try:
            process = subprocess.Popen(
                [*command, "--port", str(_free_port()), "--json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                cwd=settings.BASE_DIR,
                start_new_session=True,
            )
        except OSError as error:
            cause = f"{command[0]}: {error.strerror or type(error).__name__}"
            raise ScratchUnavailable(
                f"The command that starts it cannot be run: {cause}.", details={"said": cause}
            ) from error
        try:
            running = _line(process, words, deadline, check)
            client = N8nClient(
                base_url=running.base_url,
                api_key=running.api_key,
                policy=AddressPolicy.build(networks=["127.0.0.0/8", "::1/128"]),
            )
            with client:
                yield running, client
        finally:
            _end(process)
            shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED or name in _PASSED_OURS or name.startswith(_PASSED_STARTS)
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _line(process: subprocess.Popen[bytes], words: Path, deadline: float, check: Callable[[], None]) -> Running:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    heard = b""
    while b"\n" not in heard:
        check()
        if time.monotonic() > deadline:
            raise RehearsalTooLong("That n8n was not ready in the time that a rehearsal may take.")
        if select.select([process.stdout], [], [], 0.5)[0]:
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                raise _unavailable(words)
            heard += part
    try:
        return msgspec.json.decode(heard.partition(b"\n")[0], type=Running)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _unavailable(words) from error


def _unavailable(words: Path) -> ScratchUnavailable:
    output = words.read_text(errors="replace").strip()[-WORDS_KEPT:]
    last = output.splitlines()[-1] if output else "It said nothing."
    return ScratchUnavailable(
        f"No n8n of that version could be started. The command's last words: {last[:400]}", details={"said": output}
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its standard input, and wait; then less politely."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_WITHIN)
            return
