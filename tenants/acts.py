"""What the audit trail says of people and members in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.acts import ActName, ActTeller, ActWords, TrailRow

from .models import Membership, TenantRole

WORDS = (
    ActWords(table="users", action="SIGN_IN", words="Signed in", position=50),
    ActWords(table="users", action="SIGN_OUT", words="Signed out", position=50),
    ActWords(table="memberships", action="CREATE", words="Added {name} to the members", position=40),
    ActWords(table="memberships", action="UPDATE", words="Changed the role of {name}", position=40),
    ActWords(table="memberships", action="DELETE", words="Removed {name} from the members", position=40),
    ActWords(table="invitations", action="CREATE", words="Invited {name}", position=45),
    ActWords(table="api_tokens", action="CREATE", words="Created the token {name}", position=40),
    ActWords(table="tenants", action="CREATE", words="Created the tenant {name}", position=30),
    ActWords(table="tenants", action="UPDATE", words="Changed the tenant's settings", position=60),
)


def tell(rows: Sequence[TrailRow]) -> Mapping[int, ActName]:
    """The person, where they are still a member, and the role that was given."""
    members = Membership.objects.select_related("user").filter(
        pk__in={row.resource_id for row in rows if row.resource_id}
    )
    names = {member.pk: str(member.user) for member in members}
    return {
        row.pk: ActName(name=names[row.resource_id], more=_given_role(row)) for row in rows if row.resource_id in names
    }


def _given_role(row: TrailRow) -> str:
    role = str((row.details.get("new_value") or {}).get("role") or "")
    return str(dict(TenantRole.choices).get(role, role))


TELLER = ActTeller(table="memberships", tell=tell)
