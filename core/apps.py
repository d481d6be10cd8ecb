from django.apps import AppConfig

from . import memory, parameters


class CoreConfig(AppConfig):
    name = "core"
    label = "core"
    verbose_name = "Core"

    def ready(self) -> None:
        memory.map_large_blocks()
        parameters.install()
