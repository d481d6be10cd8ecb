from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    name = "promotions"
    verbose_name = "Promotions"

    def ready(self) -> None:
        # Each registers what it defines: who is told, the record of reconciles.
        from . import concerned, records  # noqa: F401
