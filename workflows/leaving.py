"""What ends in the environments when a member leaves a tenant."""

from __future__ import annotations

from typing import Any

from tenants.models import Membership

from .models import EnvironmentUserObjectPermission


def forget_environment_grants(sender: type[Membership], instance: Membership, **kwargs: Any) -> None:
    """Delete the grants on single environments, so that a member who returns does not get them back."""
    EnvironmentUserObjectPermission.objects.filter(tenant_id=instance.tenant_id, user_id=instance.user_id).delete()
