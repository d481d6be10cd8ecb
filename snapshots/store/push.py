"""Copying the branches to a remote: allowed protocols only, credentials by environment, an end to every wait."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from .errors import (
    PushFailed,
    PushHostUnknown,
    PushRefusedLogin,
    PushRejected,
    PushUnreachable,
    RemoteNotAllowed,
    tidy,
)
from .plumbing import Plumbing
from .refs import tips

_SCP_LIKE = re.compile(r"(?P<user>[A-Za-z0-9._-]+)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^:\s][^\s]*)\Z")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]*[A-Za-z0-9])?\Z")
_LOGIN = re.compile(
    r"authentication failed|could not read (?:username|password)|invalid (?:username|credentials)|access denied"
    r"|permission (?:to .* )?denied|publickey|returned error: 40[13]|not permitted"
    r"|terminal prompts disabled|load key",
    re.I,
)
_HOST_KEY = re.compile(r"host key verification failed|remote host identification has changed", re.I)
_NO_SSH = re.compile(r"cannot run ssh|ssh: (?:command )?not found", re.I)
_UNREACHABLE = re.compile(
    r"could not resolve|couldn't connect|failed to connect|connection (?:refused|timed out|reset|closed)|timed out"
    r"|no route to host|network is unreachable|not found|does not exist|does not appear to be a git repository"
    r"|unable to access|could not read from remote|remote end hung up|operation too slow",
    re.I,
)
_CREDENTIALS = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$OPS_GIT_USER" "$OPS_GIT_SECRET"; }; f'


@dataclass(frozen=True, slots=True)
class Remote:
    """Where to push and how to sign in. The secrets never reach a command line, a URL or a file that stays.

    For https ``username`` and ``password`` (a token); for ssh ``ssh_key`` (private key, PEM text) and
    ``known_hosts`` (lines in OpenSSH's form; without them the host key is not accepted).
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Pushed:
    """Branches that moved at the remote, and those that were there already."""

    moved: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


def check_remote(url: str, *, allow_file: bool = False, allow_http: bool = False) -> str:
    """The protocol of an allowed address. Raises RemoteNotAllowed; the address itself is never repeated."""
    if not _is_one_plain_word(url):
        raise RemoteNotAllowed
    if "://" not in url:
        return _check_scp_like(url)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise RemoteNotAllowed from None
    allowed = {"https", "ssh", *(["file"] if allow_file else []), *(["http"] if allow_http else [])}
    if parts.scheme not in allowed or parts.password is not None or parts.query or parts.fragment:
        raise RemoteNotAllowed
    is_allowed = _is_local_path(parts) if parts.scheme == "file" else _is_host(parts)
    if not is_allowed:
        raise RemoteNotAllowed
    return parts.scheme


def _is_one_plain_word(url: str) -> bool:
    """Whether Git takes it for an address, and for nothing else: no option, no remote helper."""
    return bool(url) and len(url) <= 500 and url.isprintable() and url[0] != "-" and "::" not in url and " " not in url


def _check_scp_like(url: str) -> str:
    match = _SCP_LIKE.match(url)
    if match is None or match["path"].startswith("-") or match["host"].startswith("-"):
        raise RemoteNotAllowed
    return "ssh"


def _is_local_path(parts: SplitResult) -> bool:
    return not parts.netloc and parts.path.startswith("/")


def _is_host(parts: SplitResult) -> bool:
    """Whether it names a host; a user name belongs into the settings, but for ssh."""
    if not _HOST.match(parts.hostname or ""):
        return False
    if parts.scheme in ("https", "http"):
        return parts.username is None
    return not parts.username or re.match(r"[\w.-]+\Z", parts.username) is not None


def push(
    plumbing: Plumbing,
    remote: Remote,
    *,
    branches: Sequence[str] | None = None,
    timeout: float = 120.0,
    allow_file: bool = False,
    allow_http: bool = False,
) -> Pushed:
    """Push all branches (or those named), never by force. Safe to repeat.

    Raises RemoteNotAllowed, PushRefusedLogin, PushUnreachable, PushRejected, or PushFailed.
    """
    protocol = check_remote(remote.url, allow_file=allow_file, allow_http=allow_http)
    here = tips(plumbing)
    names = sorted(here if branches is None else [name for name in branches if name in here])
    if not names:
        return Pushed()
    with _signed_in(remote, protocol) as (settings, environment):
        answer = plumbing.run(
            "push",
            "--porcelain",
            "--no-verify",
            "--",
            remote.url,
            *(f"refs/heads/{name}:refs/heads/{name}" for name in names),
            settings=settings,
            environment=environment,
            timeout=timeout,
            own_group=True,
        )
    text = _without_secrets(answer.stderr, remote)
    if answer.timed_out:
        raise PushUnreachable(details={"git": text})
    return _judge(answer.status, answer.out.decode("utf-8", "replace"), text)


def _judge(status: int, out: str, text: str) -> Pushed:
    """What ``git push --porcelain`` did. ``text`` is what Git wrote beside it, for people."""
    moved, unchanged, rejected = [], [], {}
    for line in out.splitlines():
        flag, _, rest = line.partition("\t")
        pair, _, why = rest.partition("\t")
        name = pair.rpartition(":")[2].removeprefix("refs/heads/")
        if flag == "!":
            rejected[name] = tidy(why, limit=200)
        elif flag == "=":
            unchanged.append(name)
        elif rest and len(flag) == 1:
            moved.append(name)
    if rejected:
        raise PushRejected(details={"branches": rejected, "git": text})
    if status:
        raise _failure(text)
    return Pushed(tuple(moved), tuple(unchanged))


def _failure(text: str) -> PushFailed:
    """The failure that Git's words mean."""
    details = {"git": text}
    if _NO_SSH.search(text) and not _HOST_KEY.search(text):
        return PushFailed(
            "The program “ssh” is missing where the console's workers run; nothing was sent.",
            recovery="Install OpenSSH's client there, then push again.",
            details=details,
        )
    kinds = ((_HOST_KEY, PushHostUnknown), (_LOGIN, PushRefusedLogin), (_UNREACHABLE, PushUnreachable))
    kind = next((kind for pattern, kind in kinds if pattern.search(text)), PushFailed)
    return kind(details=details)


def _without_secrets(text: str, remote: Remote) -> str:
    for secret in (remote.password, remote.ssh_key):
        if secret:
            text = text.replace(secret, "…")
    text = re.sub(r"/\S*/opsconsole-ssh-[^/\s]*/", "", text)
    return tidy(re.sub(r"//[^/@\s]+@", "//…@", text))


@contextlib.contextmanager
def _signed_in(remote: Remote, protocol: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Settings and environment for one push; a key's file lives only as long as that."""
    if any("\n" in text or "\r" in text or "\0" in text for text in (remote.username, remote.password)):
        raise RemoteNotAllowed("The user name and the token for the remote have to be single lines.")
    settings = [
        "credential.helper=",
        "http.followRedirects=false",
        "http.lowSpeedLimit=100",
        "http.lowSpeedTime=30",
        "push.recurseSubmodules=no",
    ]
    environment = {"GIT_ALLOW_PROTOCOL": protocol}
    if remote.password and protocol in ("https", "http"):
        settings.append(f"credential.helper={_CREDENTIALS}")
        environment |= {"OPS_GIT_USER": remote.username or "git", "OPS_GIT_SECRET": remote.password}
    if protocol != "ssh":
        yield settings, environment
        return
    with tempfile.TemporaryDirectory(prefix="opsconsole-ssh-") as folder:
        environment["GIT_SSH_VARIANT"] = "ssh"
        environment["GIT_SSH_COMMAND"] = _ssh_command(Path(folder), remote)
        yield settings, environment


def _ssh_command(folder: Path, remote: Remote) -> str:
    hosts, key = folder / "known_hosts", folder / "key"
    hosts.write_text(_lines(remote.known_hosts))
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "2",
        # Only the tenant's own key is shown, never one of the user whom the console runs as.
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": str(key) if remote.ssh_key else "none",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
        "ProxyCommand": "none",
    }
    words = ["ssh", "-F", "/dev/null", *(f"-o {name}={value}" for name, value in options.items())]
    if remote.ssh_key:
        key.touch(mode=0o600)
        key.write_text(_lines(remote.ssh_key))
    return " ".join(words)


def _lines(text: str) -> str:
    """As OpenSSH reads it: what comes out of a browser's form has other ends of lines."""
    return "\n".join(text.strip().splitlines()) + "\n"
