"""The cache that all processes share, which nothing may depend on: while Redis is away each process counts alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from .texts import json_bytes

logger = structlog.get_logger(__name__)


class JsonSerializer:
    """Values in Redis as JSON. Whoever can write to Redis writes a value then; with pickle, a program that we run."""

    def dumps(self, value: Any) -> bytes | int:
        # As Django's own: a plain number stays one, so that Redis can count it up.
        return value if type(value) is int else json_bytes(value)

    def loads(self, data: bytes) -> Any:
        """The value, or None where it is not JSON, which reads like a value that is not there."""
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            return None


class PatientRedisCache(RedisCache):
    """Redis, or this process's memory when Redis does not answer: sign-in limits go on, and people can sign in."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._own = LocMemCache("opsconsole-fallback", {"KEY_PREFIX": params.get("KEY_PREFIX", "")})

    def _either(self, ask: Callable[[], Any], name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return ask()
        except (RedisError, OSError):
            logger.warning("the shared cache does not answer; counting in this process", call=name)
            return getattr(self._own, name)(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).add(*args, **kwargs), "add", *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).get(*args, **kwargs), "get", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).set(*args, **kwargs), "set", *args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).touch(*args, **kwargs), "touch", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).delete(*args, **kwargs), "delete", *args, **kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).has_key(*args, **kwargs), "has_key", *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(lambda: super(PatientRedisCache, self).incr(*args, **kwargs), "incr", *args, **kwargs)
