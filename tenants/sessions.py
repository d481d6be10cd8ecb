"""Sign-in sessions in the table ``user_sessions``, with the person beside the data, so that deleting rows ends them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from core import clock, context


class SessionStore(DatabaseStore):
    """Django's database sessions on our own table."""

    @classmethod
    def get_model_class(cls) -> Any:
        return apps.get_model("tenants", "UserSession")

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        created = data.setdefault("_created", clock.now().isoformat())
        return _completed(super().create_model_instance(data), data, created)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        created = data.setdefault("_created", clock.now().isoformat())
        return _completed(await super().acreate_model_instance(data), data, created)


def _completed(session: Any, data: dict[str, Any], created: str) -> Any:
    """The row with the person and the address beside the encoded data."""
    acting = context.current()
    session.user_id = data.get("_auth_user_id") or None
    session.ip_address = acting.ip_address or None
    session.user_agent = acting.user_agent[:300]
    session.created_at = datetime.fromisoformat(created)
    session.last_seen_at = clock.now()
    return session
