"""Sign-in sessions in the table ``user_sessions``, with the person beside the data, so that deleting rows ends them.

The table holds a digest of each key. The key itself, which opens its person's account, is in the browser's cookie
alone: who reads the database, a dump of it, or looks through the admin, can sign in as nobody.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from core import clock, context, crypto


def stored_key(session_key: str | None) -> str:
    """What the table holds of a session's key; '' for none. Keys are 160 random bits: no salt is needed."""
    return hashlib.sha256(session_key.encode()).hexdigest() if session_key else ""


class SessionStore(DatabaseStore):
    """Django's database sessions on our own table."""

    @classmethod
    def get_model_class(cls) -> Any:
        return apps.get_model("tenants", "UserSession")

    def _get_session_from_db(self) -> Any:
        found = self.model.objects.filter(session_key=stored_key(self.session_key), expire_date__gt=clock.now()).first()
        if found is None:
            self._session_key = None
        return found

    async def _aget_session_from_db(self) -> Any:
        rows = self.model.objects.filter(session_key=stored_key(self.session_key), expire_date__gt=clock.now())
        found = await rows.afirst()
        if found is None:
            self._session_key = None
        return found

    def encode(self, session_dict: dict[str, Any]) -> str:
        """Encrypted: while an app is set up, its secret is among the data."""
        return crypto.encrypt(super().encode(session_dict))

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        stored = session_data.decode() if isinstance(session_data, bytes) else session_data
        try:
            readable = crypto.decrypt(stored) if crypto.is_token(stored) else stored
        except crypto.SecretUnreadable:
            return {}
        found: dict[str, Any] = super().decode(readable)
        return found

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(stored_key(session_key)))

    async def aexists(self, session_key: str) -> bool:
        return bool(await super().aexists(stored_key(session_key)))

    def delete(self, session_key: str | None = None) -> None:
        super().delete(stored_key(session_key or self.session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        await super().adelete(stored_key(session_key or self.session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        created = data.setdefault("_created", clock.now().isoformat())
        return _completed(super().create_model_instance(data), data, created)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        created = data.setdefault("_created", clock.now().isoformat())
        return _completed(await super().acreate_model_instance(data), data, created)


def _completed(session: Any, data: dict[str, Any], created: str) -> Any:
    """The row with the person and the address beside the encoded data."""
    acting = context.current()
    session.session_key = stored_key(session.session_key)
    session.user_id = data.get("_auth_user_id") or None
    session.ip_address = acting.ip_address or None
    session.user_agent = acting.user_agent[:300]
    session.created_at = datetime.fromisoformat(created)
    session.last_seen_at = clock.now()
    return session
