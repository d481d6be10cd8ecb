"""A mail that says whose it is."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from django.core.mail import EmailMessage
from django.db import transaction

from .models import Membership, TenantRole

logger = logging.getLogger(__name__)

MOST_OWNERS = 20


class TenantMessage(EmailMessage):
    """A mail about one tenant: it is in that tenant's trail, where others are in the platform's.

    Its subject is one line: names of people and things stand in it, and a mail with a broken header is not sent.
    """

    def __init__(self, subject: str = "", *args: Any, tenant_id: uuid.UUID | None = None, **kwargs: Any) -> None:
        super().__init__(" ".join(subject.split()), *args, **kwargs)
        self.tenant_id = tenant_id


def owners_of(tenant_id: uuid.UUID) -> list[str]:
    """E-mail addresses of a tenant's owners, at most 20. Needs a scope that shows them."""
    rows = Membership.objects.filter(tenant_id=tenant_id, role=TenantRole.OWNER, user__is_active=True)
    return list(rows.values_list("user__email", flat=True)[:MOST_OWNERS])


def send_after_commit(addresses: Iterable[str], subject: str, text: str, *, tenant_id: uuid.UUID | None = None) -> None:
    """One mail to all once the transaction has committed. One that cannot be sent is logged, and fails nothing."""
    to = sorted(set(addresses))
    if not to:
        return

    def deliver() -> None:
        try:
            TenantMessage(subject, text, to=to, tenant_id=tenant_id).send()
        except Exception:
            logger.exception("a mail could not be sent", extra={"to": len(to)})

    transaction.on_commit(deliver)
