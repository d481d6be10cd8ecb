"""A mail that says whose it is."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.mail import EmailMessage


class TenantMessage(EmailMessage):
    """A mail about one tenant: it is in that tenant's trail, where others are in the platform's."""

    def __init__(self, *args: Any, tenant_id: uuid.UUID | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenant_id = tenant_id
