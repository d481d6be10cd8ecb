"""What the audit trail says of people and members in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.acts import ActName, ActTeller, ActWords, TrailRow

from .models import Membership

WORDS = (
    ActWords(table="users", action="SIGN_IN", words="Signed in", position=50),
    ActWords(table="users", action="SIGN_OUT", words="Signed out", position=50),
    ActWords(table="memberships", action="CREATE", words="Added {name} to the members", position=40),
    ActWords(table="memberships", action="UPDATE", words="Changed the role of {name}", position=40),
    ActWords(table="memberships", action="DELETE", words="Removed {name} from the members", position=40),
    ActWords(table="invitations", action="CREATE", words="Invited {name}", position=45),
    ActWords(table="api_tokens", action="CREATE", words="Made the token {name}", position=40),
    ActWords(table="tenants", action="CREATE", words="Founded the tenant {name}", position=30),
    ActWords(table="tenants", action="UPDATE", words="Changed the tenant's settings", position=60),
)


def tell(rows: Sequence[TrailRow]) -> Mapping[int, ActName]:
    """The person, where they are still a member."""
    members = Membership.objects.select_related("user").filter(
        pk__in={row.resource_id for row in rows if row.resource_id}
    )
    names = {member.pk: ActName(name=str(member.user), more=member.role) for member in members}
    return {row.pk: names[row.resource_id] for row in rows if row.resource_id in names}


TELLER = ActTeller(table="memberships", tell=tell)
