"""Testing a connection step by step, so that the report names the first fault and the way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from core.errors import OpsError

from . import errors
from .address import AddressPolicy, is_this_machine
from .client import N8nClient
from .http import Limits
from .instance import read_mark
from .report import Check, CheckState, ConnectionReport
from .scopes import MissingScope, missing_scopes, read_scopes
from .spec import Capabilities

_QUICK = Limits(connect=5.0, read=10.0, total_time=15.0, attempts=2, max_bytes=32 * 1024 * 1024)

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


_REFUSALS = (errors.ScopeMissing, errors.Unauthorized)


class _Report:
    """Collects the checks of one test."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}

    def add(self, name: str, state: CheckState, sentence: str, recovery: str = "", code: str = "") -> None:
        self.checks[name] = Check(name, _TITLES[name], state, sentence, recovery, code)

    def fail(self, exc: OpsError, *, otherwise: str = "reachable", state: CheckState = "failed") -> str:
        """Record a failure at the step where it shows; the step's name."""
        name = next((step for kind, step in _STEP_OF if isinstance(exc, kind)), otherwise)
        message = exc.details.get("n8n")
        sentence = f"{exc.message} n8n says: “{message}”." if message else exc.message
        self.add(name, state, sentence, exc.recovery, exc.code)
        return name

    def finish(self, **fields: Any) -> ConnectionReport:
        checks = tuple(
            self.checks.get(name) or Check(name, title, "skipped", "Not tested, because an earlier step failed.")
            for name, title in _TITLES.items()
        )
        return ConnectionReport(checks=checks, ok=not any(check.state == "failed" for check in checks), **fields)


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
    """Test an instance from the outside in. Writes nothing, and never raises for a fault of the instance."""
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
        return _test(client, report)


def _test(client: N8nClient, report: _Report) -> ConnectionReport:
    spec = _read_contract(client, report)
    if spec is None:
        return report.finish()
    latency_ms = _list_one_workflow(client, report)
    if latency_ms is None:
        return report.finish(api_version=spec.api_version)
    missing = _check_scopes(client, spec, report)
    _report_version(spec, report)
    return report.finish(
        api_version=spec.api_version,
        latency_ms=latency_ms,
        capabilities=_capabilities(spec),
        version=_version(client),
        missing_scopes=missing,
    )


def _read_contract(client: N8nClient, report: _Report) -> Capabilities | None:
    """What the instance publishes of its API; None where it could not be asked, with the reason in the report."""
    address = urlsplit(client.base_url)
    try:
        spec = client.spec(fresh=True)
    except errors.N8nError as exc:
        step = report.fail(exc)
        if step != "address":
            report.add("address", "ok", f"“{address.hostname}” is a known name.")
        if step not in ("address", "reachable", "tls"):
            _report_reached(report, address)
        return None
    report.add("address", "ok", f"“{address.hostname}” is a known name and may be reached from here.")
    _report_reached(report, address)
    return spec


def _report_reached(report: _Report, address: SplitResult) -> None:
    report.add("reachable", "ok", "A connection can be made.")
    if address.scheme == "https":
        report.add("tls", "ok", "The connection is encrypted and the certificate is valid.")
    elif is_this_machine(address.hostname or ""):
        report.add("tls", "ok", "The connection is not encrypted, and does not leave this machine.")
    else:
        report.add(
            "tls",
            "warning",
            "The connection is not encrypted: the API key can be read on the way.",
            "Use an https address, unless you trust the network in between.",
        )


def _list_one_workflow(client: N8nClient, report: _Report) -> float | None:
    """Milliseconds that n8n takes to list one workflow; None where it does not, with the reason in the report."""
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
        return None
    latency_ms = round((time.monotonic() - started) * 1000, 1)
    report.add("n8n", "ok", "It answers as n8n's public API does.")
    report.add("key", "ok", "The API key is accepted and may list workflows.")
    return latency_ms


def _report_version(spec: Capabilities, report: _Report) -> None:
    if spec.known:
        report.add("version", "ok", f"It publishes its functions (API {spec.api_version or 'without a number'}).")
    else:
        report.add(
            "version",
            "warning",
            "It does not publish its functions, so only those of every supported version are used.",
            "No action is needed. To use newer functions, make /api/v1/openapi.yml reachable.",
        )


def _check_scopes(client: N8nClient, spec: Capabilities, report: _Report) -> tuple[MissingScope, ...]:
    """Ask for the key's scopes; where n8n does not list them, try the reads that are needed."""
    report.add("licence", "ok", "The licence includes every function that is needed.")
    scopes = _listed_scopes(client, spec)
    if scopes is None:
        _try_reads(client, spec, report)
        return ()
    missing = missing_scopes(scopes)
    if not missing:
        report.add("scope", "ok", "The API key has every scope that is used.")
        return ()
    effects = " ".join(f"{one.scope}: {one.effect}" for one in missing)
    report.add(
        "scope",
        "warning",
        f"The API key lacks {len(missing)} scope{'s' if len(missing) != 1 else ''}. {effects}",
        "Create a key with these scopes in n8n, and enter it here. Everything else works without them.",
        errors.ScopeMissing.code,
    )
    return missing


def _try_reads(client: N8nClient, spec: Capabilities, report: _Report) -> None:
    """Only n8n's refusal is one; where it did not answer, nothing is said of the key."""
    found = {path: _read(client, path) for path in ("/tags", "/executions") if spec.has("get", path)}
    failed: dict[str, errors.N8nError] = {}
    for path, error in found.items():
        if isinstance(error, errors.NotLicensed):
            report.fail(error, state="warning")
        elif error is not None:
            failed[path.removeprefix("/")] = error
    if not failed:
        report.add("scope", "ok", "The API key may read workflows, tags and executions.")
    elif refused := [name for name, error in failed.items() if isinstance(error, _REFUSALS)]:
        report.add(
            "scope",
            "warning",
            f"The API key may not read {' and '.join(refused)}.",
            "Create a key with the scopes for workflows, tags and executions.",
            errors.ScopeMissing.code,
        )
    else:
        error = next(iter(failed.values()))
        sentence = f"What the API key may read could not be tried: {error.message}"
        report.add("scope", "warning", sentence, "Test the connection again.", error.code)


def _read(client: N8nClient, path: str) -> errors.N8nError | None:
    try:
        client.call("GET", path, params={"limit": 1})
    except errors.N8nError as error:
        return error
    return None


def _listed_scopes(client: N8nClient, spec: Capabilities) -> tuple[str, ...] | None:
    if not spec.can("discover"):
        return None
    try:
        return read_scopes(client)
    except errors.N8nError:
        return None


def _version(client: N8nClient) -> str:
    """n8n's version as far as it is published; empty where nothing tells it."""
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
