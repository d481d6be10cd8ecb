"""Testing a connection step by step, so that the report names the first thing that is wrong and the way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from core.errors import OpsError

from . import errors
from .address import AddressPolicy
from .client import N8nClient
from .http import Limits
from .instance import read_mark
from .scopes import missing_scopes, read_scopes
from .spec import Capabilities

State = Literal["ok", "failed", "warning", "skipped"]

_QUICK = Limits(connect=5.0, read=10.0, total_time=15.0, attempts=2, max_bytes=32 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Check:
    """One step: what was looked at, what was found, and what to do."""

    name: str
    title: str
    state: State
    sentence: str
    recovery: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """The steps in their order. `version` is n8n's, as near as it is told, `latency_ms` that of one list call."""

    checks: tuple[Check, ...]
    version: str = ""
    api_version: str = ""
    latency_ms: float | None = None
    capabilities: dict[str, bool] = field(default_factory=dict)
    missing_scopes: tuple[dict[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether captures can work: nothing failed (warnings may be there)."""
        return not any(check.state == "failed" for check in self.checks)

    @property
    def fault(self) -> Check | None:
        """The first step that failed."""
        return next((check for check in self.checks if check.state == "failed"), None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for `Environment.connection_report` and the API."""
        return {**asdict(self), "checks": [asdict(c) for c in self.checks], "ok": self.ok}


_TITLES = {
    "address": "Address",
    "reachable": "Reachable",
    "tls": "Encryption",
    "n8n": "Is n8n",
    "key": "API key",
    "scope": "Scopes",
    "licence": "Licence",
    "version": "Version",
}

# At which step a failure shows.
_STEP_OF: tuple[tuple[type[errors.N8nError], str], ...] = (
    (errors.AddressRefused, "address"),
    (errors.NameNotFound, "address"),
    (errors.TlsFailed, "tls"),
    (errors.NotAnApi, "n8n"),
    (errors.RemoteNotFound, "n8n"),
    (errors.VersionUnsupported, "version"),
    (errors.Unauthorized, "key"),
    (errors.ScopeMissing, "scope"),
    (errors.NotLicensed, "licence"),
)


class _Report:
    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}

    def add(self, name: str, state: State, sentence: str, recovery: str = "", code: str = "") -> None:
        self.checks[name] = Check(name, _TITLES[name], state, sentence, recovery, code)

    def fail(self, exc: OpsError, *, otherwise: str = "reachable", state: State = "failed") -> str:
        name = next((step for kind, step in _STEP_OF if isinstance(exc, kind)), otherwise)
        said = exc.details.get("n8n")
        self.add(name, state, f"{exc.message} n8n says: “{said}”." if said else exc.message, exc.recovery, exc.code)
        return name

    def finish(self, **more: Any) -> ConnectionReport:
        checks = [
            self.checks.get(name) or Check(name, title, "skipped", "Not looked at, because an earlier step failed.")
            for name, title in _TITLES.items()
        ]
        return ConnectionReport(tuple(checks), **more)


def check_connection(
    *,
    base_url: str,
    api_key: str,
    policy: AddressPolicy | None = None,
    limits: Limits = _QUICK,
    transport: httpx.BaseTransport | None = None,
    headers: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> ConnectionReport:
    """Look at an instance from outside in; never raises for what can be wrong out there. Writes nothing."""
    report = _Report()
    try:
        client = N8nClient(
            base_url=base_url,
            api_key=api_key,
            policy=policy,
            limits=limits,
            transport=transport,
            headers=headers,
            sleep=sleep,
        )
    except errors.N8nError as exc:
        report.fail(exc, otherwise="address")
        return report.finish()
    with client:
        return _look(client, report)


def _look(client: N8nClient, report: _Report) -> ConnectionReport:
    address = urlsplit(client.base_url)
    try:
        spec = client.spec(fresh=True)
    except errors.N8nError as exc:
        step = report.fail(exc)
        if step != "address":
            report.add("address", "ok", f"“{address.hostname}” is a known name.")
        if step not in ("address", "reachable", "tls"):
            _reached(report, address.scheme)
        return report.finish()
    report.add("address", "ok", f"“{address.hostname}” is a known name and may be reached from here.")
    _reached(report, address.scheme)
    started = time.monotonic()
    try:
        listed = client.call("GET", "/workflows", params={"limit": 1, "excludePinnedData": "true"}).json()
        if not isinstance(listed, dict) or not isinstance(listed.get("data"), list):
            raise errors.NotAnApi()
    except errors.N8nError as exc:
        step = report.fail(exc)
        if step in ("key", "scope", "licence"):
            report.add("n8n", "ok", "It answers as n8n's public API does.")
        if step == "scope":
            report.add("key", "ok", "The API key is accepted.")
        return report.finish(api_version=spec.api_version)
    latency = round((time.monotonic() - started) * 1000, 1)
    report.add("n8n", "ok", "It answers as n8n's public API does.")
    report.add("key", "ok", "The API key is accepted and may list workflows.")
    lacking = _scopes(client, spec, report)
    can = _capabilities(spec)
    if spec.known:
        report.add("version", "ok", f"It publishes what it can do (API {spec.api_version or 'without a number'}).")
    else:
        report.add(
            "version",
            "warning",
            "It does not publish what it can do; only what every supported version takes is used.",
            "Nothing has to be done. With /api/v1/openapi.yml reachable, newer functions are used as well.",
        )
    return report.finish(
        api_version=spec.api_version,
        latency_ms=latency,
        capabilities=can,
        version=_version(client),
        missing_scopes=lacking,
    )


def _reached(report: _Report, scheme: str) -> None:
    report.add("reachable", "ok", "A connection can be made.")
    if scheme == "https":
        report.add("tls", "ok", "The connection is encrypted and the certificate is valid.")
    else:
        report.add(
            "tls",
            "warning",
            "The connection is not encrypted: the API key travels readable.",
            "Use an https address, unless the network between is your own.",
        )


def _scopes(client: N8nClient, spec: Capabilities, report: _Report) -> tuple[dict[str, str], ...]:
    """Ask what the key may do; where n8n does not tell, look at the other calls that are needed. Each is a read."""
    told = _told_scopes(client, spec)
    if told is not None:
        report.add("licence", "ok", "Nothing that is needed is held back by the licence.")
        missing = missing_scopes(told)
        if not missing:
            report.add("scope", "ok", "The API key may do all that is used here.")
            return ()
        effects = " ".join(f"{one.scope}: {one.effect}" for one in missing)
        report.add(
            "scope",
            "warning",
            f"The API key lacks {len(missing)} scope{'s' if len(missing) != 1 else ''}. {effects}",
            "Create a key with these scopes in n8n, and enter it here; without them the rest works.",
            errors.ScopeMissing.code,
        )
        return tuple({"scope": one.scope, "effect": one.effect} for one in missing)
    lacking = []
    report.add("licence", "ok", "Nothing that is needed is held back by the licence.")
    for path, what in (("/tags", "tags"), ("/executions", "executions")):
        if not spec.has("get", path):
            continue
        try:
            client.call("GET", path, params={"limit": 1})
        except errors.NotLicensed as exc:
            report.fail(exc, state="warning")
        except errors.N8nError:
            lacking.append(what)
    if lacking:
        report.add(
            "scope",
            "warning",
            f"The API key may not read {' and '.join(lacking)}.",
            "Create a key with the scopes for workflows, tags and executions.",
            errors.ScopeMissing.code,
        )
    else:
        report.add("scope", "ok", "The API key may read workflows, tags and executions.")
    return ()


def _told_scopes(client: N8nClient, spec: Capabilities) -> tuple[str, ...] | None:
    if not spec.can("discover"):
        return None
    try:
        return read_scopes(client)
    except errors.N8nError:
        return None


def _version(client: N8nClient) -> str:
    """The version as near as it is told; empty where nothing tells it."""
    try:
        mark = read_mark(client)
    except errors.N8nError:
        return ""
    return mark.told if mark.is_known else ""


def _capabilities(spec: Capabilities) -> dict[str, bool]:
    return {
        "published": spec.known,
        "write_pinned_data": "pinData" in spec.update_keys,
        "write_description": "description" in spec.update_keys,
        **spec.capabilities(),
    }
