from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        from tenants.environment_grants import register_grant_provider
        from tenants.models import Membership
        from tenants.shell import register_shell_items

        from . import access
        from .leaving import forget_environment_grants
        from .shell import environment_chips

        register_grant_provider(access)
        register_shell_items(environment_chips)
        post_delete.connect(forget_environment_grants, sender=Membership, dispatch_uid="environment-grants")
