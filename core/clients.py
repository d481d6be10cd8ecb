"""Where a request comes from, as far as it can be believed."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The caller's address; '' where there is none (a socket).

    ``X-Forwarded-For`` is only believed as far as it was written by our own proxies: of ``OPSCONSOLE_TRUSTED_PROXIES``
    proxies in a row, the outermost wrote the entry that many places from the right. What stands left of it came from
    the caller, who may write anything.
    """
    return believed_address(str(request.META.get("REMOTE_ADDR") or ""), request.headers.get("X-Forwarded-For", ""))


def believed_address(direct: str, forwarded: str) -> str:
    """The same from the address that the connection comes from and the header's text."""
    proxies: int = settings.TRUSTED_PROXIES
    chain = [part.strip() for part in forwarded.split(",")]
    if proxies < 1 or len(chain) < proxies:
        return _address(direct)
    return _address(chain[-proxies]) or _address(direct)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
