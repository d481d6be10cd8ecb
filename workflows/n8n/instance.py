"""Which n8n it is: its version where it is published, and what its API offers where it is not.

Old ones name their version in ``/rest/settings``. Since 1.123 at the latest they do so only for people who have signed
in, but the editor's page still names the release (seen on 1.123.0 and 2.41.1). Where neither is
published, as behind a proxy that lets only the API through, a fingerprint of the published API has to do: another
version nearly always offers something else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from . import errors

if TYPE_CHECKING:
    from .client import N8nClient
    from .spec import Capabilities

#: What an instance offers that older ones lack, newest first, with the version that was the first to have it.
_SINCE: tuple[tuple[str, str], ...] = (
    ("get /workflows/{}/history", "2.35"),
    ("post /workflows/{}/publish", "2.35"),
    ("get /community-packages", "2.20"),
    ("get /discover", "2.15"),
    ("post /workflows/{}/archive", "2.15"),
    ("get /credentials", "2.8"),
)


class InstanceMark(msgspec.Struct, frozen=True, kw_only=True):
    """What distinguishes one n8n from another.

    ``version`` is empty where n8n hides it; ``fingerprint`` is a digest of what it publishes of its
    API (calls, keys, settings), empty where it publishes nothing; ``at_least`` is read off that.
    """

    version: str = ""
    api_version: str = ""
    fingerprint: str = ""
    at_least: str = ""
    calls: int = 0

    def is_another_than(self, earlier: InstanceMark) -> bool:
        """Whether the instance was upgraded or downgraded since ``earlier``; what is not known proves nothing."""
        if self.version and earlier.version:
            return self.version != earlier.version
        if self.fingerprint and earlier.fingerprint:
            return self.fingerprint != earlier.fingerprint
        return False

    @property
    def told(self) -> str:
        """The version in words: exact, at least, at most, or not known."""
        if self.version:
            return self.version
        if self.at_least:
            return f"{self.at_least} or later"
        return f"before {_SINCE[-1][1]}" if self.fingerprint else "unknown"

    @property
    def is_known(self) -> bool:
        """Whether anything tells its version."""
        return bool(self.version or self.fingerprint)

    def to_dict(self) -> dict[str, Any]:
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def mark_from(data: Any) -> InstanceMark:
    """A stored mark; an empty one where it cannot be read."""
    try:
        return msgspec.convert(data, InstanceMark)
    except msgspec.ValidationError:
        return InstanceMark()


def read_mark(client: N8nClient, known: InstanceMark | None = None) -> InstanceMark:
    """Ask an instance what it is. Where the version is that of ``known``, nothing more is asked.

    Raises ``N8nError`` only where the instance cannot be reached.
    """
    version = read_version(client)
    if known is not None and version and version == known.version:
        return known
    spec = client.spec(fresh=True)
    if not spec.known:
        return InstanceMark(version=version)
    calls = sorted(f"{method} {_plain(path)}" for path, methods in spec.endpoints.items() for method in methods)
    return InstanceMark(
        version=version,
        api_version=spec.api_version,
        fingerprint=_digest(spec, calls),
        at_least=next((since for call, since in _SINCE if call in calls), ""),
        calls=len(calls),
    )


def read_version(client: N8nClient) -> str:
    """n8n's version where the instance publishes it, or an empty string."""
    try:
        body = client._http.call("GET", "/rest/settings", keyed=False).json()
    except (errors.N8nError, ValueError):
        return ""
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict) and isinstance(data.get("versionCli"), str):
        found: str = data["versionCli"][:32]
        return found
    return _release_of_editor(client) if isinstance(data, dict) else ""


_SENTRY = re.compile(rb'name="n8n:config:sentry"\s+content="([A-Za-z0-9+/=]{1,4000})"')
_RELEASE = re.compile(rb'"release":\s*"n8n@(\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,20})"')


def _release_of_editor(client: N8nClient) -> str:
    """The release that the editor's page names for error reports, whether these are on or off."""
    try:
        page = client._http.call("GET", "/", keyed=False).body
        found = _SENTRY.search(page)
        release = _RELEASE.search(base64.b64decode(found.group(1))) if found else None
    except (errors.N8nError, binascii.Error, ValueError):
        return ""
    return release.group(1).decode()[:32] if release else ""


def _plain(path: str) -> str:
    """The path without the names of its parameters: ``{id}`` became ``{workflowId}``."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _digest(spec: Capabilities, calls: list[str]) -> str:
    facts = [spec.api_version, calls, sorted(spec.create_keys), sorted(spec.update_keys), sorted(spec.settings)]
    return hashlib.sha256(orjson.dumps(facts)).hexdigest()[:32]
