"""Who somebody really is, and which accounts are one person's: the account itself, the machines behind it, and those
of the same mailbox.

Looking for accounts needs a scope that sees the tenant's members and tokens.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from allauth.account.models import EmailAddress
from django.db.models import Q

from core import context

from .models import ApiToken, Membership, User


def real_person(by: User) -> uuid.UUID:
    """The person at the keyboard, also in a support session."""
    return context.current().actor_id or by.pk


def mailbox(email: str) -> str:
    """The mailbox behind an address: in lower case and without a tag; Gmail ignores dots."""
    name, _, host = email.strip().lower().rpartition("@")
    name = name.partition("+")[0]
    if host in ("gmail.com", "googlemail.com"):
        name, host = name.replace(".", ""), "gmail.com"
    return f"{name}@{host}"


def people_behind(accounts: Iterable[uuid.UUID]) -> frozenset[uuid.UUID]:
    """The accounts of whoever stands behind these; transitively.

    Behind a machine's account stands who made it, and who made a token for it that still works; behind a person's, the
    member who has the same mailbox.
    """
    mailboxes = _mailboxes_of_members()
    found: set[uuid.UUID] = set()
    new = set(accounts)
    while new:
        found |= new
        new = (_who_uses_machines(new) | _of_the_same_mailboxes(mailboxes, new)) - found
    return frozenset(found)


def are_one_person(some: Iterable[uuid.UUID], others: Iterable[uuid.UUID]) -> bool:
    """Whether anybody behind ``some`` accounts stands behind the ``others`` as well."""
    return bool(people_behind(some) & people_behind(others))


def _who_uses_machines(accounts: Collection[uuid.UUID]) -> set[uuid.UUID]:
    of_machines = Q(user_id__in=accounts, user__is_service=True, created_by_id__isnull=False)
    makers = Membership.objects.filter(of_machines).values_list("created_by_id", flat=True)
    holders = ApiToken.objects.filter(of_machines, revoked_at=None).values_list("created_by_id", flat=True)
    return {*makers, *holders}


def _mailboxes_of_members() -> set[tuple[uuid.UUID, str]]:
    members = Membership.objects.filter(user__is_service=False).values("user_id")
    named = User.objects.filter(pk__in=members).values_list("pk", "email")
    further = EmailAddress.objects.filter(user_id__in=members).values_list("user_id", "email")
    return {(account, mailbox(email)) for account, email in (*named, *further)}


def _of_the_same_mailboxes(known: set[tuple[uuid.UUID, str]], accounts: Collection[uuid.UUID]) -> set[uuid.UUID]:
    theirs = {box for account, box in known if account in accounts}
    return {account for account, box in known if box in theirs}
