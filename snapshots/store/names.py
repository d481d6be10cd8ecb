"""Which names may reach Git: tenants, branches, paths. Everything else is refused before a process is started."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from core.texts import storable

from .errors import BadName

FAMILIES = ("env", "snapshots")
#: Longest component of a path in bytes; file systems of an unpacked clone end at 255.
MAX_COMPONENT = 200
#: Longest encoded name, so that an ending like '.json' still fits.
_MAX_ENCODED = 180

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z")
_BRANCH = re.compile(r"(?:env|snapshots)/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")
_COMPONENT = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9._%-]*\Z")
_SHA = re.compile(r"[0-9a-f]{40}\Z")
_TRAILER_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Person:
    """Who a commit is by. Characters that Git's header cannot hold are left out."""

    name: str
    email: str = ""

    def identity(self) -> tuple[str, str]:
        """Name and address as Git can store them; never empty, since Git refuses that."""
        email = re.sub(r"[<>\s\x00-\x1f\x7f]", "", storable(self.email))[:200] or "unknown@invalid"
        name = " ".join(re.sub(r"[<>\x00-\x1f\x7f]", " ", storable(self.name)).split())[:200].strip(" .,:;\"'\\")
        return name or email.partition("@")[0].strip(".,:;\"'\\") or "unknown", email


def check_tenant(tenant_id: uuid.UUID | str) -> str:
    text = str(tenant_id)
    if not _TENANT.match(text):
        raise BadName("This tenant's identifier cannot name a repository.", details={"tenant": text[:80]})
    return text


def check_branch(branch: str) -> str:
    """``env/<slug>`` or ``snapshots/<slug>``, and nothing else."""
    bad = ".." in branch or branch.endswith((".", ".lock"))
    if not _BRANCH.match(branch) or bad:
        raise BadName("This branch name cannot be used.", details={"branch": branch[:120]})
    return branch


def check_path(path: str) -> str:
    """A relative path of plain components; use :func:`encode_component` for names people chose."""
    parts = path.split("/")
    if len(parts) > 8 or not all(_COMPONENT.match(part) and len(part) <= MAX_COMPONENT for part in parts):
        raise BadName("This path cannot be used in the Git store.", details={"path": path[:200]})
    return path


def check_sha(sha: str) -> str:
    if not _SHA.match(sha):
        raise BadName("This is not the name of a Git object.", details={"object": sha[:80]})
    return sha


def encode_component(name: str) -> str:
    """Any text as one path component: percent-encoded, kept distinct when it has to be shortened."""
    encoded = quote(name, safe="", errors="surrogatepass").replace("~", "%7E")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if not encoded or len(encoded) > _MAX_ENCODED:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        encoded = f"{encoded[: _MAX_ENCODED - 18]}%-{digest}" if encoded else f"%-{digest}"
    return encoded


def commit_message(message: str, trailers: Mapping[str, str] | None = None) -> str:
    """Subject, body and a last paragraph of trailers that ``git interpret-trailers`` reads back."""
    text = _CONTROL.sub(" ", storable(message).replace("\r\n", "\n").replace("\r", "\n"))
    text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n") or "Change"
    lines = []
    for key, value in (trailers or {}).items():
        if not _TRAILER_KEY.match(key):
            raise BadName("This trailer's name cannot be used.", details={"trailer": key[:80]})
        lines.append(f"{key}: {' '.join(_CONTROL.sub(' ', storable(str(value))).split())}")
    return f"{text}\n" + (("\n" + "\n".join(lines) + "\n") if lines else "")
