from django.apps import AppConfig


class DriftConfig(AppConfig):
    name = "drift"
    verbose_name = "Drift"

    def ready(self) -> None:
        from . import detection, rehashed  # noqa: F401  (each registers what it defines)
