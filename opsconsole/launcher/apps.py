"""Registers the production checks with Django."""

from __future__ import annotations

from django.apps import AppConfig


class LauncherConfig(AppConfig):
    name = "opsconsole.launcher"
    label = "launcher"

    def ready(self) -> None:
        from . import guards  # noqa: F401 - its checks register themselves
