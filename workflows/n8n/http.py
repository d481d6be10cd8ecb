"""One HTTP call to n8n: bounded in time and size, retried only where that cannot do harm, failures by name."""

from __future__ import annotations

import io
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx
import tenacity

from core import outgoing
from core.texts import tidied
from workflows.content import ContentError, loads, loads_workflow
from workflows.exact_json import TooMuch, body_bytes

from . import errors, outages
from .address import AddressPolicy, PinnedTransport, deadline, is_this_machine
from .unpacking import unpacking_of

API = "/api/v1"
ORDINARY_BYTES = 8 * 1024 * 1024
"""Bytes of an answer that is no workflow, unpacked. It is held while it is read into objects."""
WHOLE = 2**62
"""Bytes of a workflow's answer: what the limits allow."""
_WORDS = 600
_MOST_VALUES = 400_000
"""Objects, lists and commas of an answer that is no workflow: 6 MB of `[[],[],…]` become 250 MB of Python's objects."""
_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""How JSON spells them, in a search that costs nothing beside parsing; what else it finds is harmless."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call. Times in seconds, `total_time` over all tries together; sizes in bytes, unpacked.

    n8n takes workflows of up to 16 MiB unless told otherwise, and from 2.0 on answers with a second content, the
    published one; pinned data, most of a large workflow, come once. `max_bytes` has room for that.

    `writes_at_once`: an n8n before 2.0 on SQLite shares one connection between requests, so that transactions of
    writes that overlap run into each other (measured on 1.123.0: of 200 creations, eight at a time, 146 refused and 11
    answered with 200 and not there; 2.41.1: none). 0: one, until `Http.widen` says that the instance takes more.
    """

    connect: float = 5.0
    read: float = 30.0
    total_time: float = 90.0
    max_bytes: int = 24 * 1024 * 1024
    attempts: int = 4
    max_wait: float = 20.0
    connections: int = 10
    writes_at_once: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; `body` is unpacked."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def etag(self) -> str:
        found: str = self.headers.get("etag", "")
        return found

    def json(self, *, exact: bool = False) -> Any:
        """The body as JSON; raises `NotAnApi` with what came instead.

        Texts in it can be stored: what PostgreSQL cannot store (U+0000, a lone surrogate) is replaced by a visible
        sign. With ``exact``, for a workflow, whose content is kept to the byte, they stay as they are.
        """
        if exact:
            return self._understood(loads_workflow)
        self._refuse_too_many_values()
        found = self._understood(loads)
        if not _UNSTORABLE.search(self.body):
            return found
        try:
            return tidied(found)
        except RecursionError as exc:
            raise errors.NotAnApi("The answer is nested too deeply.") from exc

    def _refuse_too_many_values(self) -> None:
        if sum(map(self.body.count, (b"{", b"[", b","))) > _MOST_VALUES:
            raise errors.TooLarge("The answer of the n8n instance holds more than is accepted here.")

    def _understood(self, read: Callable[[bytes], Any]) -> Any:
        try:
            return read(self.body)
        except TooMuch as exc:
            raise errors.TooLarge(exc.message) from exc
        except ContentError as exc:
            raise errors.NotAnApi(
                "The instance answered with something that is not JSON.",
                details={"status": self.status, "content_type": self.headers.get("content-type", "")},
            ) from exc


class _NotSent(Exception):
    """Wraps a failure of which it is certain that n8n did not act on the request."""

    def __init__(self, error: errors.N8nError) -> None:
        self.error = error


class Http:
    """Calls under one base address. Safe to share between threads; connections are kept alive."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        policy: AddressPolicy | None = None,
        limits: Limits | None = None,
        transport: httpx.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        policy = policy or AddressPolicy()
        self.base_url = policy.check_url(base_url)
        self.limits = limits or Limits()
        self._key = api_key
        self._sleep = sleep
        self._writing = threading.Semaphore(max(1, self.limits.writes_at_once))
        self._widening = threading.Lock()
        self._is_fixed = self.limits.writes_at_once > 0
        self._transport = transport or PinnedTransport(policy, connections=self.limits.connections)
        self._is_here = is_this_machine(httpx.URL(self.base_url).host)
        self._client = httpx.Client(
            transport=self._transport,
            timeout=httpx.Timeout(self.limits.read, connect=self.limits.connect),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": "OpsConsole",
                **(headers or {}),
            },
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def widen(self, writes_at_once: int) -> None:
        """Allow that many writes at a time from now on, unless the limits fix the number."""
        with self._widening:
            if not self._is_fixed and writes_at_once > 1:
                self._is_fixed = True
                self._writing.release(writes_at_once - 1)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        most_bytes: int = ORDINARY_BYTES,
        keyed: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer (2xx or 304); raises an `N8nError`, for a write of unknown outcome `AmbiguousWrite`.

        Reads are tried again after transient failures; writes only where n8n did certainly not act. Writes wait for
        each other (``Limits.writes_at_once``). The answer to a read has ``most_bytes`` at the most, and never more
        than the limits allow.
        """
        try:
            request = self._client.build_request(
                method,
                self.base_url + path,
                params={k: v for k, v in (params or {}).items() if v not in (None, "")},
                content=None if body is None else body_bytes(body),
                headers={**self._headers(body is not None, keyed), **(headers or {})},
                extensions={"most_bytes": min(most_bytes, self.limits.max_bytes)} if body is None else None,
            )
        except (httpx.InvalidURL, ValueError, TypeError, ContentError) as exc:  # too long, or half an emoji in it
            raise errors.NotAsked() from exc
        if method in ("GET", "HEAD", "OPTIONS"):
            return self._call(request, reading=True)
        with self._writing:
            return self._call(request, reading=False)

    def _call(self, request: httpx.Request, *, reading: bool) -> Answer:
        until = time.monotonic() + self.limits.total_time
        retrying = tenacity.Retrying(
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.limits.attempts),
                tenacity.stop_after_delay(self.limits.total_time),
            ),
            retry=tenacity.retry_if_exception(lambda exc: _may_retry(exc, reading)),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._once, request, until, reading)
        except _NotSent as exc:
            raise exc.error from exc.__cause__

    def _headers(self, has_body: bool, keyed: bool) -> dict[str, str]:
        headers = {}
        if keyed and self._key:
            headers["X-N8N-API-KEY"] = self._key
        if has_body:
            headers["Content-Type"] = "application/json"
        if self._is_here or getattr(self._transport, "is_near", False):
            # Packing costs n8n half as much again as the answer itself, and the wire here is quicker than that.
            headers["Accept-Encoding"] = "identity"
        return headers

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error: BaseException | None = state.outcome.exception() if state.outcome else None
        error = error.error if isinstance(error, _NotSent) else error
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            found: float = min(max(asked, 0.0), self.limits.max_wait)
            return found
        return tenacity.wait_exponential_jitter(initial=0.25, max=self.limits.max_wait, jitter=0.25)(state)

    def _once(self, request: httpx.Request, until: float, reading: bool) -> Answer:
        if not reading:
            outgoing.refuse_stopped()
        answer = self._sent(request, until, reading)
        if answer.status < 300 or answer.status == 304:
            return answer
        error = _failure(answer)
        if isinstance(error, errors.RateLimited):
            raise _NotSent(error)
        if isinstance(error, errors.ServerFailed) and not reading:
            raise _ambiguous(error, request) from error
        raise error

    def _sent(self, request: httpx.Request, until: float, reading: bool) -> Answer:
        """Send the request; a failure by its name, as ambiguous where a write may have been carried out."""
        token = deadline.set(until)
        try:
            return self._exchange(request, until)
        except httpx.HTTPError as exc:
            error, was_not_sent = _named(exc)
            if isinstance(error, errors.Unreachable):
                outages.note(self.base_url)
            if was_not_sent:
                raise _NotSent(error) from exc
            raise (error if reading else _ambiguous(error, request)) from exc
        except errors.AddressRefused:
            raise
        except errors.NameNotFound as exc:
            raise _NotSent(exc) from exc
        except errors.N8nError as exc:  # too large or too late, after the request was sent
            if reading:
                raise
            raise _ambiguous(exc, request) from exc
        finally:
            deadline.reset(token)

    def _exchange(self, request: httpx.Request, until: float) -> Answer:
        response = self._client.send(request, stream=True)
        body = io.BytesIO()  # it hands its bytes over without a second copy of them
        try:
            packed = response.headers.get("content-encoding", "")
            asked = request.headers.get("accept-encoding", "")
            most_bytes = request.extensions.get("most_bytes", self.limits.max_bytes)
            unpacking = unpacking_of(packed, asked=asked, limit_bytes=most_bytes)
            # Not `iter_bytes`, which inflates whatever a chunk holds before its size is known.
            for chunk in cast(Iterable[bytes], response.stream):
                body.write(unpacking.feed(chunk))
                if time.monotonic() > until:
                    raise errors.TimedOut()
            unpacking.end()
        except BaseException:
            body.close()  # what went wrong may be kept for a while, and with it all that is named here
            raise
        finally:
            response.close()
        return Answer(response.status_code, response.headers, body.getvalue())


def known_as(etag: str) -> dict[str, str]:
    """The header that asks for an answer only where it is not the one of this ETag ('': whatever it is)."""
    return {"If-None-Match": etag} if etag else {}


def _may_retry(exc: BaseException, reading: bool) -> bool:
    if isinstance(exc, _NotSent):
        return exc.error.transient
    return reading and isinstance(exc, errors.N8nError) and exc.transient


def _ambiguous(cause: errors.N8nError, request: httpx.Request) -> errors.AmbiguousWrite:
    return errors.AmbiguousWrite(
        details={"call": f"{request.method} {request.url.path}", "cause": cause.code, "cause_message": cause.message}
    )


def _named(exc: httpx.HTTPError) -> tuple[errors.N8nError, bool]:
    """The failure by its name, and whether the request was certainly not acted upon."""
    if isinstance(exc, httpx.ConnectTimeout | httpx.PoolTimeout):
        return errors.TimedOut("No connection could be made in time."), True
    if isinstance(exc, httpx.ConnectError):
        return _tls_failure(exc) or errors.Unreachable(), True
    if isinstance(exc, httpx.TimeoutException):
        return errors.TimedOut(), False
    if isinstance(exc, httpx.UnsupportedProtocol):
        return errors.AddressRefused(), True
    if isinstance(exc, httpx.DecodingError | httpx.RemoteProtocolError) and "disconnected" not in str(exc):
        return errors.ConnectionDropped("The answer is not proper HTTP, or was cut off."), False
    return errors.ConnectionDropped(), False


def _tls_failure(exc: httpx.ConnectError) -> errors.TlsFailed | None:
    """What is wrong with the encryption; None where it was not the encryption that failed."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return errors.TlsFailed(f"The certificate is not accepted: {cause.verify_message}.")
        if isinstance(cause, ssl.SSLError):
            return errors.TlsFailed("No encrypted connection: the port does not speak TLS as expected.")
        cause = cause.__cause__ or cause.__context__
    is_named = "SSL" in str(exc) or "certificate" in str(exc).lower()
    return errors.TlsFailed() if is_named else None


def _message(answer: Answer) -> str:
    """n8n's own message, where the body holds one."""
    try:
        body = answer.json()
    except errors.NotAnApi:
        return ""
    message = body.get("message") if isinstance(body, dict) else None
    return message[:_WORDS] if isinstance(message, str) else ""


_BY_STATUS: dict[int, type[errors.N8nError]] = {
    401: errors.Unauthorized,
    403: errors.ScopeMissing,
    404: errors.RemoteNotFound,
    405: errors.VersionUnsupported,
    409: errors.RemoteConflict,
    413: errors.Rejected,
    501: errors.VersionUnsupported,
}


def _failure(answer: Answer) -> errors.N8nError:
    """The error for an answer that is neither 2xx nor 304."""
    status, message = answer.status, _message(answer)
    details: dict[str, Any] = {"status": status} | ({"n8n": message} if message else {})
    if status == 429:
        error = errors.RateLimited(details=details)
        error.retry_after = _retry_after(answer.headers.get("retry-after", ""))
        return error
    if 300 <= status < 400:
        return errors.NotAnApi(
            "The address redirects to another one, and redirects are not followed.",
            details=details | {"location": answer.headers.get("location", "")[:200]},
            recovery="Enter the address that it redirects to as the environment's address.",
        )
    if status >= 500 and status != 501:
        return errors.ServerFailed(f"The n8n instance answered with a fault of its own ({status}).", details=details)
    if status == 403 and "license" in message.lower():
        return errors.NotLicensed(details=details)
    if status == 404 and not message:
        return errors.NotAnApi(details=details)
    return _refusal(status, message, details)


def _refusal(status: int, message: str, details: dict[str, Any]) -> errors.N8nError:
    kind = _BY_STATUS.get(status, errors.Rejected)
    if kind is errors.Rejected and message:
        return kind(f"n8n refused the request: {message}", details=details)
    return kind(details=details)


def _retry_after(value: str) -> float | None:
    """Seconds to wait, from a number or a date; None where it is neither (`²` counts as a digit in Unicode)."""
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
