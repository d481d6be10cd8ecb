from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    name = "promotions"
    verbose_name = "Promotions"

    def ready(self) -> None:
        # Each registers what it defines: kinds of jobs, who is told of them, the record of reconciles.
        from . import handlers  # noqa: F401
        from .running import recipients, reconcile_record  # noqa: F401
