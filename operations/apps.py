from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "operations"
    verbose_name = "Operations"

    def ready(self) -> None:
        from . import tasks  # noqa: F401  (whatever starts work wakes a worker by the task's name)
