"""What instances publish of their API, remembered by the process for some minutes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from .spec import Capabilities

FRESH_SECONDS = 300.0
REMEMBERED = 1000

_lock = threading.Lock()
_contracts: dict[str, Contract] = {}


@dataclass(frozen=True, slots=True)
class Contract:
    """The capabilities of an instance, when they were read (``time.monotonic()``), and under which ETag."""

    capabilities: Capabilities
    etag: str
    read_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.read_at < FRESH_SECONDS


def recall(base_url: str) -> Contract | None:
    """The contract last read from this address by any client of the process."""
    with _lock:
        return _contracts.get(base_url)


def remember(base_url: str, contract: Contract) -> None:
    """Keep a contract for other clients of the same address."""
    with _lock:
        if len(_contracts) > REMEMBERED:
            _contracts.clear()
        _contracts[base_url] = contract
