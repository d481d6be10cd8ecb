"""Whose address is believed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from core.clients import client_address

PROXY, CALLER, CLAIMED = "10.0.0.7", "203.0.113.9", "198.51.100.1"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "believed"),
    [
        (0, CLAIMED, PROXY),
        (1, f"{CLAIMED}, {CALLER}", CALLER),
        (1, CALLER, CALLER),
        (2, f"{CLAIMED}, {CALLER}, 10.0.0.6", CALLER),
        (2, CALLER, PROXY),  # one proxy less than was promised: nobody vouches for the entry
        (1, "not an address", PROXY),
        (1, "", PROXY),
    ],
)
def test_only_our_proxies_are_believed(settings: Any, proxies: int, forwarded: str, believed: str) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=PROXY)) == believed
