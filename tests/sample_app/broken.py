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


class WithoutPage(AppConfig):
    """No address has the name of its page."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        console.console = replace(console.console, urls=())


class WithoutTask(AppConfig):
    """The name of what beat wakes is misspelt."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        task = replace(console.console.periodic_tasks[0], task="sample_app.tasks.cuont")
        console.console = replace(console.console, periodic_tasks=(task,))


class WithoutJobKind(AppConfig):
    """A handler is registered for a kind that nobody declares."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console, handlers  # noqa: F401

        console.console = replace(console.console, job_kinds=(), event_streams=())


class WithoutHandler(AppConfig):
    """The handler of a kind of job is misspelt."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        kind = replace(console.console.job_kinds[0], handler="tests.sample_app.handlers.Full")
        console.console = replace(console.console, job_kinds=(kind,))


class WithoutComponent(AppConfig):
    """A health service stands on a component that is not there."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        console.console = replace(console.console, health_components=())


class WithoutTrail(AppConfig):
    """The trail does not watch a table of tenants, and nobody says that it need not."""

    name = "tests.sample_app"

    def ready(self) -> None:
        from . import console

        console.console = replace(console.console, bookkeeping_tables=())
