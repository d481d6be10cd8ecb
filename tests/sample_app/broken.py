"""The app as somebody forgets a part of it, for the tests that the console then does not start."""

from __future__ import annotations

from dataclasses import replace

from django.apps import AppConfig


class WithoutRule(AppConfig):
    """One page does not say what a support session may do there."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import views

        del views.bottles.support_rules


class WithoutEndpointsRule(AppConfig):
    """One of two endpoints at the same address does not say it."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import rest

        del rest.throw_away.support_rules


class WithoutSubject(AppConfig):
    """The trail watches its table without words for it."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        console.console = replace(console.console, subjects=())


class WithoutEvent(AppConfig):
    """It has a consumer of an event that nobody publishes."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        console.console = replace(console.console, events=())


class WithoutConsole(AppConfig):
    """Its file declares nothing under the name that is looked for."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        del console.console
