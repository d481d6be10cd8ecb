"""What can go wrong around the trail."""

from __future__ import annotations

from core.errors import Forbidden


class AuditAccessRefused(Forbidden):
    code = "IMP_004"
    title = "The audit trail is not yours to read"
    message = "Only platform admins and compliance officers read the platform's trail; a tenant's, who may there."
    recovery = "Ask an owner of the tenant for the permission, or a platform admin to look."
