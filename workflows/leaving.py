"""What ends in the environments when somebody leaves a tenant."""

from __future__ import annotations

from typing import Any

from tenants.models import Membership

from .models import EnvironmentUserObjectPermission


def forget_environment_grants(sender: type[Membership], instance: Membership, **kwargs: Any) -> None:
    """Take away the grants on single environments, so that coming back later does not bring them back."""
    EnvironmentUserObjectPermission.objects.filter(tenant_id=instance.tenant_id, user_id=instance.user_id).delete()
