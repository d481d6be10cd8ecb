"""The Celery application. It only wakes work: the row in PostgreSQL is the truth (docs/adr/0003)."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import beat_init, celeryd_init, task_postrun, task_prerun, worker_ready
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")

from django.conf import settings

from core import context

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
    task_routes={
        "operations.tasks.reap": {"queue": "control", "routing_key": "control"},
        "promotions.tasks.settle": {"queue": "control", "routing_key": "control"},
        "reports.tasks.tick": {"queue": "control", "routing_key": "control"},
        "reports.tasks.tidy": {"queue": "control", "routing_key": "control"},
        "tenants.tasks.tidy": {"queue": "control", "routing_key": "control"},
        "impersonation.tasks.settle": {"queue": "control", "routing_key": "control"},
        "audit.tasks.seal": {"queue": "control", "routing_key": "control"},
        "audit.tasks.partitions": {"queue": "control", "routing_key": "control"},
        "drift.tasks.keep_schedules": {"queue": "control", "routing_key": "control"},
        "snapshots.tasks.keep_schedules": {"queue": "control", "routing_key": "control"},
        "snapshots.tasks.keep_copied": {"queue": "control", "routing_key": "control"},
        "snapshots.tasks.keep_hashes": {"queue": "control", "routing_key": "control"},
        "snapshots.tasks.name_commits": {"queue": "control", "routing_key": "control"},
        "workflows.tasks.keep_executions_read": {"queue": "control", "routing_key": "control"},
        "workflows.tasks.keep_watch": {"queue": "control", "routing_key": "control"},
    },
    beat_schedule={
        "drift-schedules": {
            "task": "drift.tasks.keep_schedules",
            "schedule": 60.0,
            "options": {"expires": 60.0},
        },
        "git-stores": {
            "task": "snapshots.tasks.keep_schedules",
            "schedule": 3600.0,
            "options": {"expires": 600.0},
        },
        "git-remotes": {"task": "snapshots.tasks.keep_copied", "schedule": 30.0, "options": {"expires": 30.0}},
        "commits": {"task": "snapshots.tasks.name_commits", "schedule": 15.0, "options": {"expires": 15.0}},
        "hashes": {"task": "snapshots.tasks.keep_hashes", "schedule": 60.0, "options": {"expires": 60.0}},
        "executions": {
            "task": "workflows.tasks.keep_executions_read",
            "schedule": 20.0,
            "options": {"expires": 20.0},
        },
        "watched-starters": {"task": "workflows.tasks.keep_watch", "schedule": 15.0, "options": {"expires": 15.0}},
        "reap": {
            "task": "operations.tasks.reap",
            "schedule": settings.REAPER_INTERVAL_SECONDS,
            "options": {"expires": max(5.0, settings.REAPER_INTERVAL_SECONDS)},
        },
        "reports": {"task": "reports.tasks.tick", "schedule": 60.0, "options": {"expires": 60.0}},
        "report-files": {"task": "reports.tasks.tidy", "schedule": 3600.0, "options": {"expires": 600.0}},
        "settle-promotions": {
            "task": "promotions.tasks.settle",
            "schedule": settings.REAPER_INTERVAL_SECONDS,
            "options": {"expires": max(5.0, settings.REAPER_INTERVAL_SECONDS)},
        },
        "settle-support-sessions": {
            "task": "impersonation.tasks.settle",
            "schedule": settings.REAPER_INTERVAL_SECONDS,
            "options": {"expires": max(5.0, settings.REAPER_INTERVAL_SECONDS)},
        },
        "seal-trail": {"task": "audit.tasks.seal", "schedule": 60.0, "options": {"expires": 60.0}},
        "trail-partitions": {"task": "audit.tasks.partitions", "schedule": 3600.0, "options": {"expires": 600.0}},
        "tidy": {"task": "tenants.tasks.tidy", "schedule": 3600.0, "options": {"expires": 600.0}},
    },
    beat_schedule_filename=str(settings.HOME / "celerybeat-schedule"),
    timezone="UTC",
)
app.autodiscover_tasks(
    [name for name in settings.INSTALLED_APPS if "." not in name and name not in {"guardian", "auditlog"}]
)


@celeryd_init.connect
@beat_init.connect
def refuse_unsafe_start(**kwargs: object) -> None:
    """In production, end a worker or beat whose settings or database role are not safe."""
    from opsconsole.launcher.guards import exit_unsafe_start

    exit_unsafe_start()


@worker_ready.connect
def settle_collector(**kwargs: object) -> None:
    """All is loaded: from here on the collector looks seldom."""
    from core import collector

    collector.settle()


@task_prerun.connect
def work_as_the_system(**kwargs: object) -> None:
    """What beat wakes is the console's own work; an operation then names the people it is done for."""
    context.set_current(context.ActionContext(source="system"))


@task_postrun.connect
def forget_who_worked(**kwargs: object) -> None:
    context.set_current(context.ActionContext())
