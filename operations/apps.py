"""Long work as durable rows."""

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "operations"

    def ready(self) -> None:
        from . import tasks  # noqa: F401 -- whatever starts work wakes a worker by the task's name
