"""Redis is taken for hostile: what it holds is data, whoever wrote it."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest
from django.conf import settings
from django.core.cache.backends.redis import RedisCache
from hypothesis import given
from hypothesis import strategies as st

from core.cache import JsonSerializer, PatientRedisCache

PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
JSON = st.recursive(
    PLAIN | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(JSON)
def test_what_is_put_in_comes_back(value: Any) -> None:
    packed = JsonSerializer().dumps(value)
    assert JsonSerializer().loads(str(packed).encode() if isinstance(packed, int) else packed) == value


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, ("/nowhere/at/all",)


@pytest.fixture
def redis_cache() -> PatientRedisCache:
    made = PatientRedisCache(
        settings.BROKER_URL, {"KEY_PREFIX": "trap", "OPTIONS": {"serializer": "core.cache.JsonSerializer"}}
    )
    made.clear = lambda: None  # type: ignore[method-assign]
    return made


def test_a_program_that_somebody_put_into_redis_is_not_run(redis_cache: PatientRedisCache) -> None:
    redis_cache.set("count", 1)
    assert redis_cache.incr("count") == 2 and redis_cache.get("count") == 2
    client = RedisCache(settings.BROKER_URL, {"KEY_PREFIX": "trap"})._cache.get_client(None, write=True)
    client.set(redis_cache.make_and_validate_key("count"), pickle.dumps(Trap()))
    assert redis_cache.get("count", "nothing") is None
