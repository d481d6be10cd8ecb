"""How often something may fail, counted in the cache that all processes share."""

from __future__ import annotations

from django.core.cache import cache

from .errors import OpsError


class TooMany(OpsError):
    code = "TOO_MANY_REQUESTS"
    title = "Too many tries"
    message = "This was tried too often in a short time."
    recovery = "Wait a minute, then try again."
    status = 429


class TooFast(OpsError):
    """Somebody asks more often than one person can; refused before anything is done, see ``core.pacing``."""

    code = "TOO_FAST"
    title = "Too many requests"
    message = "More was asked for than the console answers one person in so short a time."
    recovery = "Wait a few seconds, then go on. A program waits as long as the header Retry-After says."
    status = 429


def count(what: str, who: str, *, seconds: int) -> int:
    """Count one more of ``what`` by ``who``; how many there were in the running window of ``seconds``."""
    key = f"limit:{what}:{who}"
    if cache.add(key, 1, timeout=seconds):
        return 1
    try:
        return cache.incr(key)
    except ValueError:  # it ended between the two calls
        cache.set(key, 1, timeout=seconds)
        return 1


def counted(what: str, who: str) -> int:
    """How many ``count`` has counted in the running window."""
    return int(cache.get(f"limit:{what}:{who}", 0))
