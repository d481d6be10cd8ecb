from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    name = "promotions"
    verbose_name = "Promotions"

    def ready(self) -> None:
        # Each registers what it defines: who is told, the kinds of work, the record of reconciles.
        from . import concerned, handlers, records  # noqa: F401
