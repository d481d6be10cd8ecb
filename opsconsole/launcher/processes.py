"""Starting, watching and ending processes, so that none outlives the launcher.

Each child leads a process group of its own: a Ctrl-C at the terminal reaches the launcher alone, which then ends the
children in order. On Linux the kernel signals a child when the launcher is killed (kill -9), and orphans
of a child come back to the launcher, so that it can end them too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .errors import LauncherError
from .files import read_json, tail, write_json
from .identity import ServiceUser

LINUX = sys.platform.startswith("linux")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOG_LIMIT = 20 * 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind (Linux), so that `end_descendants` finds it."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent(parent: int, number: int) -> Callable[[], None]:
    """What a child does between fork and exec. It runs after the switch of user, which would clear the setting."""

    def preexec() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != parent:
                os.kill(os.getpid(), number)

    return preexec


def start_time(pid: int) -> str | None:
    """A mark that tells a process from a later one with the same number; None when there is no such process."""
    if LINUX:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        after_name = text.rpartition(")")[2].split()
        return None if after_name[0] == "Z" else after_name[19]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def command_line(pid: int) -> str:
    """The command line of a process, or nothing."""
    if LINUX:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            return ""
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def wait_for(condition: Callable[[], bool], *, seconds: float, pause: float = 0.05) -> bool:
    """Look until `condition` holds or the time is over; whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def group_alive(group: int) -> bool:
    """Whether any process of the group is still there (zombies count until they are collected)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def signal_group(group: int, number: int) -> None:
    """Send a signal to a whole process group; a group that is gone is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_foreign(pid: int, *, first: int = signal.SIGTERM, seconds: float = 8.0) -> None:
    """End a process group that is not our child (left by a run that was killed): politely, then for good."""
    mark = start_time(pid)
    if mark is None:
        signal_group(pid, signal.SIGKILL)
        return
    try:
        os.kill(pid, first)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise LauncherError(
            f"Process {pid} ({command_line(pid)}) of an earlier run belongs to another user and still runs.",
            recovery=f"end it as that user or as root: kill {pid}",
        ) from error
    wait_for(lambda: start_time(pid) != mark, seconds=seconds)
    signal_group(pid, signal.SIGKILL)
    wait_for(lambda: start_time(pid) != mark, seconds=2)


@dataclass
class Child:
    """One program that the launcher runs.

    `stop_signal` goes to the program itself, which ends its own children; whatever of its group is left after `grace`
    seconds is killed. `orphan_signal` is what the kernel sends it when the launcher dies.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    pid_folder: Path
    user: ServiceUser | None = None
    stop_signal: int = signal.SIGTERM
    orphan_signal: int = signal.SIGTERM
    grace: float = 8.0
    essential: bool = True
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    log_offset: int = 0

    @property
    def pid_file(self) -> Path:
        """Where the next start finds this process, should we be killed."""
        return self.pid_folder / f"{self.name}.json"

    def start(self) -> None:
        """Start the program; its output is appended to its log."""
        self._rotate_log()
        switch = self.user if self.user is not None and self.user.switches else None
        with self.log.open("ab") as stream:
            self.log_offset = stream.tell()
            try:
                self.process = subprocess.Popen(
                    list(self.argv),
                    env=dict(self.env),
                    cwd=self.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=switch.uid if switch else None,
                    group=switch.gid if switch else None,
                    extra_groups=[] if switch else None,
                    preexec_fn=_die_with_parent(os.getpid(), self.orphan_signal),
                )
            except OSError as error:
                raise LauncherError(f"{self.name} cannot be started: {error}.") from error
        pid = self.process.pid
        write_json(self.pid_file, {"pid": pid, "started": start_time(pid), "signal": int(self.stop_signal)})

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))

    def running(self) -> bool:
        """Whether the program is alive; collects it when it has ended."""
        return self.process is not None and self.process.poll() is None

    def exit_reason(self) -> str:
        """How it ended, in words."""
        code = None if self.process is None else self.process.poll()
        if code is None:
            return "is running"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def last_words(self, lines: int = 15) -> str:
        """The last lines of its log since it was started."""
        return tail(self.log, lines=lines, since=self.log_offset)

    def request_stop(self) -> None:
        """Ask it to end, without waiting."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def stop(self) -> None:
        """End it and everything in its group, within `grace` seconds."""
        if self.process is None:
            return
        self.request_stop()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self.grace)
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.pid_file.unlink(missing_ok=True)
        self.process = None


def clean_up_leftovers(pid_folder: Path) -> list[str]:
    """End what a killed run left behind, by its pid files. Returns the names of what was ended.

    A pid file whose process is gone, or whose number now belongs to a process that started at another time, is only
    removed. Programs are ended before the services they use.
    """
    ended = []
    files = sorted(pid_folder.glob("*.json"), key=lambda path: path.stem in ("postgres", "redis"))
    for path in files:
        record = read_json(path) or {}
        pid, started = record.get("pid"), record.get("started")
        if isinstance(pid, int) and pid > 1:
            if started is not None and start_time(pid) == started:
                end_foreign(pid, first=int(record.get("signal", signal.SIGTERM)))
                ended.append(path.stem)
            elif start_time(pid) is None and group_alive(pid):
                # The leader is gone but its children are not: a group number is not reused while a member lives.
                signal_group(pid, signal.SIGKILL)
                ended.append(path.stem)
        path.unlink(missing_ok=True)
    return ended


def own_children() -> set[int]:
    """The processes that call us their parent now (Linux only; elsewhere none is known)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has just ended
            found.update(int(pid) for pid in task.read_text().split())
    return found


def end_descendants(*, except_for: set[int]) -> None:
    """Kill whatever still calls us its parent, however it detached itself (Linux only)."""
    for _ in range(5):
        children = own_children() - except_for
        if not children:
            return
        for pid in children:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
