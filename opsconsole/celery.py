"""The Celery application. It only wakes work: the row in PostgreSQL is the truth (docs/adr/0003)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from celery import Celery
from celery.signals import beat_init, celeryd_init, task_postrun, task_prerun, worker_ready
from kombu.entity import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")

from django.conf import settings

from core import context
from core.registry import PeriodicTask, registry

app = Celery("opsconsole")
# Queues on the nameless exchange need no binding kept in Redis, so emptying Redis cannot break routing.
DIRECT = Exchange("", type="direct")
app.conf.update(
    broker_url=settings.BROKER_URL,
    broker_connection_retry_on_startup=True,
    # A broker that is away must not hold up a person: the reaper finds what could not be sent.
    broker_transport_options={
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "retry_on_timeout": True,
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.2,
    },
    task_ignore_result=True,
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=200,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    task_queues=[
        Queue("operations", DIRECT, routing_key="operations"),
        Queue("control", DIRECT, routing_key="control"),
    ],
    task_default_queue="operations",
    task_default_exchange="",
    task_default_routing_key="operations",
    beat_schedule_filename=str(settings.HOME / "celerybeat-schedule"),
    timezone="UTC",
)
app.autodiscover_tasks(lambda: list(registry.consoles))


def schedule(tasks: Sequence[PeriodicTask]) -> None:
    """Have beat wake what the apps have declared. Once, when Django is ready."""
    app.conf.task_routes = {task.task: {"queue": task.queue, "routing_key": task.queue} for task in tasks}
    app.conf.beat_schedule = {
        task.name: {
            "task": task.task,
            "schedule": seconds_of(task),
            "options": {"expires": task.expires_seconds or max(5.0, seconds_of(task))},
        }
        for task in tasks
    }


def seconds_of(task: PeriodicTask) -> float:
    every = task.every_seconds
    return float(getattr(settings, every) if isinstance(every, str) else every)


@celeryd_init.connect
@beat_init.connect
def refuse_unsafe_start(**kwargs: object) -> None:
    """In production, end a worker or beat whose settings or database role are not safe."""
    from opsconsole.launcher.guards import exit_unsafe_start

    exit_unsafe_start()


@worker_ready.connect
def settle_collector(**kwargs: object) -> None:
    """All is loaded: from here on the collector looks seldom."""
    from core import gc_tuning

    gc_tuning.settle()


@task_prerun.connect
def work_as_the_system(**kwargs: object) -> None:
    """What beat wakes is the console's own work; an operation then names the people it is done for."""
    context.set_current(context.ActionContext(source="system"))


@task_postrun.connect
def forget_who_worked(**kwargs: object) -> None:
    context.set_current(context.ActionContext())
