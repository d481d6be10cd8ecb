from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"
    verbose_name = "Reports"

    def ready(self) -> None:
        from . import catalogue, handlers  # noqa: F401  (registers the reports, and what makes them)
