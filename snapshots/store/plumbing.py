"""Git's processes: started through GitPython, in an environment of our own, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from git.cmd import Git
from git.exc import GitCommandNotFound

from .errors import GitUnusable, write_failure

#: Seconds after which a plumbing command that should take milliseconds is killed.
TIMEOUT = 120.0
#: The same for commands that walk the whole history.
LONG_READ = 600.0

#: Settings of every command. They win over the repository's own file, and no other file is read.
_SETTINGS: tuple[str, ...] = (
    "core.bare=true",
    f"core.hooksPath={os.devnull}",
    f"core.attributesFile={os.devnull}",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=5000",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.compression=1",
    "pack.threads=1",
    "pack.windowMemory=64m",
    "protocol.ext.allow=never",
)
_KEPT = ("GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PYTHON_GIT_EXECUTABLE")
_BASE_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    # Gits before 2.32 look for the person's file by HOME; curl looks there for .netrc.
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "TZ": "UTC",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended: its status and what it wrote; ``stderr`` is for people."""

    status: int
    out: bytes
    stderr: str
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.status == 0


def _ending(status: int) -> str:
    """Words for an end by a signal, of which Git itself says nothing."""
    if status >= 0:
        return ""
    return "file size limit exceeded" if status == -signal.SIGXFSZ else f"git was ended by signal {-status}"


class Process:
    """A running Git command with all three pipes. Closing it ends it, whatever it is doing."""

    def __init__(self, handle: Any, *, own_group: bool = False) -> None:
        # GitPython's handle is kept: collecting it terminates the process.
        self._handle = handle
        self._popen = cast("subprocess.Popen[bytes]", handle.proc)
        self._own_group = own_group
        self._answer: Answer | None = None
        self.pid = self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        return cast(IO[bytes], self._popen.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        return cast(IO[bytes], self._popen.stdout)

    def communicate(self, data: bytes = b"", *, timeout: float = TIMEOUT) -> Answer:
        """Send, read everything, wait. On a timeout the process (and its group) is killed."""
        try:
            out, stderr = self._popen.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.communicate(timeout=5)
            return Answer(-9, b"", f"no answer within {timeout:g} seconds", timed_out=True)
        status = self._popen.returncode
        return Answer(status, out or b"", (stderr or b"").decode("utf-8", "replace") or _ending(status))

    def finish(self, *, timeout: float = TIMEOUT) -> Answer:
        """Close the input, then read the rest and wait. The second call gives the first one's answer."""
        if self._answer is not None:
            return self._answer
        with contextlib.suppress(OSError, ValueError):
            self.stdin.close()
        # communicate() would flush the closed pipe once more.
        self._popen.stdin = None
        self._answer = self.communicate(timeout=timeout)
        return self._answer

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._own_group:
                os.killpg(self.pid, signal.SIGKILL)
            elif self._popen.poll() is None:
                self._popen.kill()

    def close(self) -> None:
        """End the process if it still runs and let go of its pipes."""
        self.kill()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()
        self._popen.wait()


class Plumbing:
    """Starts Git's commands in one repository."""

    _version: tuple[int, ...] = ()
    _version_lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git = Git(str(path))

    @classmethod
    def version(cls) -> tuple[int, ...]:
        with cls._version_lock:
            if not cls._version:
                try:
                    cls._version = Git().version_info or (2, 30)
                except (GitCommandNotFound, OSError) as error:
                    raise GitUnusable(details={"git": str(error)[:300]}) from error
            return cls._version

    def _settings(self) -> list[str]:
        durable = (
            ("core.fsync=objects,derived-metadata,reference", "core.fsyncMethod=batch")
            if self.version() >= (2, 37)
            else ("core.fsyncObjectFiles=true",)
        )
        return [part for setting in (*_SETTINGS, *durable, f"safe.directory={self.path}") for part in ("-c", setting)]

    def start(
        self,
        *args: str,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        own_group: bool = False,
    ) -> Process:
        """Start ``git <args>`` with pipes. Raises GitUnusable when it cannot be started."""
        env = {**_BASE_ENVIRONMENT, "GIT_DIR": str(self.path), **(environment or {})}
        # GitPython hands the parent's whole environment on and cannot take a name out of it; env(1) can.
        foreign = [name for name in os.environ if name.startswith("GIT_") and name not in env and name not in _KEPT]
        prefix = ["env", *(part for name in foreign for part in ("-u", name))] if foreign else []
        extra = [part for setting in settings for part in ("-c", setting)]
        executable = str(Git.GIT_PYTHON_GIT_EXECUTABLE or "git")
        command = [*prefix, executable, *self._settings(), *extra, *args]
        try:
            handle = self._git.execute(
                command,
                istream=subprocess.PIPE,
                as_process=True,
                env=env,
                start_new_session=own_group,
            )
        except (GitCommandNotFound, OSError) as error:
            raise GitUnusable(details={"git": str(error)[:300]}) from error
        return Process(handle, own_group=own_group)

    def run(
        self,
        *args: str,
        data: bytes = b"",
        timeout: float = TIMEOUT,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        own_group: bool = False,
    ) -> Answer:
        """Run a command to its end; the caller judges the status."""
        process = self.start(*args, settings=settings, environment=environment, own_group=own_group)
        try:
            return process.communicate(data, timeout=timeout)
        finally:
            process.close()

    def must(self, *args: str, data: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """Run a writing command that has to succeed, or raise the typed WriteFailed."""
        answer = self.run(*args, data=data, environment=environment)
        if not answer.ok:
            raise write_failure(answer.stderr, command=args[0])
        return answer.out
