from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    name = "promotions"
    verbose_name = "Promotions"

    def ready(self) -> None:
        # Each registers what it defines: who is told of a job, the record of reconciles.
        from .running import recipients, reconcile_record  # noqa: F401
