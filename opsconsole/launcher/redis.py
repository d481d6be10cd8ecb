"""The embedded Redis: a broker that may be emptied at any time, so it keeps nothing on disk."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from .errors import LauncherError
from .files import make_folder, write_atomic
from .home import Home
from .processes import Child, wait_for


@dataclass
class Redis:
    """One server in a data folder."""

    home: Home
    binary: Path
    port: int
    secrets: dict[str, str]
    child: Child | None = None

    def start(self) -> Child:
        """Start the server and wait until it answers. The password is in a file: a command line can be read by all."""
        user = self.home.user
        make_folder(self.home.redis, owner=user.uid, group=user.gid)
        configuration = self.home.redis / "redis.conf"
        text = "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self.secrets['redis_password']}",
                f'dir "{self.home.redis}"',
                "daemonize no",
                'save ""',
                "appendonly no",
                "maxmemory-policy noeviction",
                "databases 64",
            ]
        )
        write_atomic(configuration, text + "\n")
        if user.switches:
            os.chown(configuration, user.uid or 0, user.gid or 0)
        self.child = Child(
            name="redis",
            argv=[str(self.binary), str(configuration)],
            env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.home.redis)},
            cwd=self.home.redis,
            log=self.home.logs / "redis.log",
            pid_folder=self.home.pids,
            user=user,
        )
        self.child.start()
        self.wait_ready()
        return self.child

    def wait_ready(self) -> None:
        """Wait until it answers a ping."""
        child = self.child
        if child is None:
            return
        wait_for(lambda: self._answers() or not child.running(), seconds=15)
        if not child.running() or not self._answers():
            raise LauncherError(
                f"Redis {child.exit_reason()} and does not answer.",
                log=child.last_words(),
                recovery=f"the whole log is {child.log}",
            )

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(f"AUTH {self.secrets['redis_password']}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    chunk = link.recv(256)
                    if not chunk:
                        return False
                    answer += chunk
                return answer == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def url(self, number: int = 0) -> str:
        """The address of one of its databases."""
        return f"redis://:{self.secrets['redis_password']}@127.0.0.1:{self.port}/{number}"
