from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    name = "promotions"
    verbose_name = "Promotions"

    def ready(self) -> None:
        from . import handlers, records  # noqa: F401 -- registers the kinds of work, and the record of reconciles
