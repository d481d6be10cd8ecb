"""Which addresses the console may talk to, decided on the address that is really connected to.

The name is resolved once per connection, every answer is judged, and the connection goes to that very address:
a name that resolves elsewhere a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import contextvars
import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from .errors import AddressRefused, NameNotFound

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("n8n_deadline", default=None)
"""The `time.monotonic()` at which the call under way must be over, however slowly bytes drip in."""

_EMBEDDING = tuple(ipaddress.ip_network(n) for n in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
"""IPv6 addresses whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, RFC 8215) and IPv4-compatible (RFC 4291)."""

_METADATA = ipaddress.ip_address("168.63.129.16")
"""Azure's own services for the machine that asks; public by its number, and reached from inside only."""

_INNER = tuple(ipaddress.ip_network(n) for n in ("192.0.0.0/24", "fec0::/10"))
"""Of private use, though Python takes some or all of it for global (RFC 6890, RFC 3879)."""
_DEFAULT_PORTS = {"https": 443, "http": 80}


TRUST_SECONDS = 60.0
"""How long certificates of authorities, once read, are used for new connections."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be reached. The default: public addresses, by https or http.

    `networks` are private ranges that are allowed as well; `hosts` are names that are trusted whatever they
    resolve to. `allow_private` opens everything but link-local addresses (clouds keep secrets there).
    """

    networks: tuple[IPNetwork, ...] = ()
    hosts: frozenset[str] = frozenset()
    schemes: tuple[str, ...] = ("https", "http")
    allow_private: bool = False
    allow_public: bool = True
    ports: frozenset[int] = field(default=frozenset())

    @classmethod
    def build(
        cls, *, networks: Iterable[str] = (), hosts: Iterable[str] = (), https_only: bool = False, **more: Any
    ) -> AddressPolicy:
        """From settings: networks as CIDRs, hosts as names."""
        return cls(
            networks=tuple(ipaddress.ip_network(n, strict=False) for n in networks),
            hosts=frozenset(h.lower().rstrip(".") for h in hosts),
            schemes=("https",) if https_only else ("https", "http"),
            **more,
        )

    @classmethod
    def local(cls) -> AddressPolicy:
        """For development and tests: everything but link-local addresses."""
        return cls(allow_private=True)

    def check_url(self, url: str) -> str:
        """Return `url` as a base address without a trailing slash; raises `AddressRefused`."""
        try:
            parts = urlsplit(url.strip())
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError as exc:
            raise AddressRefused("That is not a web address.") from exc
        if parts.scheme not in self.schemes or not parts.hostname:
            raise AddressRefused(f"The address must start with {' or '.join(s + '://' for s in self.schemes)}.")
        if any((parts.username, parts.password, parts.query, parts.fragment)):
            raise AddressRefused("The address must not contain a user name, a password, a query or a fragment.")
        if self.ports and port not in self.ports:
            raise AddressRefused("This port is not allowed.")
        self._refuse_literal(parts.hostname)
        path = parts.path.rstrip("/").removesuffix("/api/v1")
        return f"{parts.scheme}://{parts.netloc}{path}"

    def _refuse_literal(self, host: str) -> None:
        """Refuse an IP address that may not be reached; a name is judged once it is resolved."""
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            return
        if not self.allows(literal, host):
            raise AddressRefused(details={"address": host})

    def allows(self, address: IPAddress, host: str = "") -> bool:
        """Whether `address` may be connected to, having been found for `host`."""
        address = _unwrapped(address)
        if host.lower().rstrip(".") in self.hosts:
            return True
        if any(address.version == n.version and address in n for n in self.networks):
            return True
        if address.is_link_local or address.is_multicast or address.is_unspecified or address == _METADATA:
            return False
        return self.allow_public if _is_public(address) else self.allow_private

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host` that may be connected to, in the resolver's order; raises if there are none.

        One refused address refuses the name: a mixture is how a rebinding looks.
        """
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise NameNotFound(f"The name “{host}” cannot be resolved.", details={"host": host}) from exc
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for text in addresses:
            if not self.allows(ipaddress.ip_address(text.split("%")[0]), host):
                raise AddressRefused(
                    f"“{host}” leads to {text}, which may not be reached from here.",
                    details={"host": host, "address": text},
                )
        return addresses


def _is_public(address: IPAddress) -> bool:
    return address.is_global and not any(address.version == n.version and address in n for n in _INNER)


def _unwrapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv6 one, where there is one; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    return _embedded(address) or address


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner


def _left(timeout: float | None) -> float | None:
    until = deadline.get()
    if until is None:
        return timeout
    left = max(until - time.monotonic(), 0.001)
    return left if timeout is None else min(timeout, left)


READ_AT_ONCE = 1024 * 1024
"""Bytes. A thread that reads beside one that computes waits some milliseconds for each turn: so it takes much."""


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait also ends at the deadline of the call."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max(max_bytes, READ_AT_ONCE), _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


NEAR = 0.002
"""Seconds in which a connection is made where the wire is quicker than packing what goes over it."""


class _Backend(httpcore.NetworkBackend):
    def __init__(self, policy: AddressPolicy) -> None:
        self.is_near = False
        self._policy = policy
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._policy.resolve(host, port):
            try:
                began = time.monotonic()
                stream = self._inner.connect_tcp(address, port, _left(timeout), local_address, socket_options)
                # A busy processor makes any connection look slow, so the fastest one counts.
                self.is_near = self.is_near or time.monotonic() - began < NEAR
                return _Stream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure or httpcore.ConnectError("no address")

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> Any:
        raise AddressRefused("Sockets in the file system are not allowed.")

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def is_this_machine(host: str) -> bool:
    """Whether a host names the very machine that asks, as far as its name alone tells."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


@functools.lru_cache(maxsize=4)
def _trust(ca_files: tuple[str, ...], _window: int) -> ssl.SSLContext:
    """The trusted authorities; cached for a while, since reading the system's certificates takes 30 ms."""
    context = ssl.create_default_context()
    for path in ca_files:
        context.load_verify_locations(path)
    return context


class PinnedTransport(httpx.HTTPTransport):
    """httpx's transport, connecting only where the policy allows; no proxy of the process's environment is used."""

    def __init__(self, policy: AddressPolicy, *, connections: int = 10, ca_files: Sequence[str] = ()) -> None:
        context = _trust(tuple(ca_files), int(time.monotonic() // TRUST_SECONDS))
        super().__init__(verify=context, trust_env=False)
        self._backend = _Backend(policy)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            # n8n closes an idle connection after five seconds: be first, so that no write meets a closed one.
            keepalive_expiry=4.0,
            network_backend=self._backend,
        )

    @property
    def is_near(self) -> bool:
        """Whether a connection went to this machine or one beside it; False before the first."""
        return self._backend.is_near
