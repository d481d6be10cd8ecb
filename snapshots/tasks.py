"""Celery tasks: one call each."""

from __future__ import annotations

from celery import shared_task

from . import maintenance, pushing, recovery, rehashing, sql_contents


@shared_task(name="snapshots.tasks.keep_schedules")
def keep_schedules() -> None:
    """Every hour: each tenant's Git store has somebody to look after it."""
    maintenance.keep_schedules()


@shared_task(name="snapshots.tasks.keep_copied")
def keep_copied() -> None:
    """Every half minute: what was committed goes to the tenants' Git remotes."""
    pushing.keep_copied()


@shared_task(name="snapshots.tasks.keep_hashes")
def keep_hashes() -> None:
    """Every minute: environments whose hashes are of an older normalisation get new ones."""
    rehashing.keep_current()


@shared_task(name="snapshots.tasks.name_commits")
def name_commits() -> None:
    """Every few seconds: snapshots that a runbook has put back by hand get the commit that holds them."""
    recovery.name_commits()


@shared_task(name="snapshots.tasks.keep_contents")
def keep_contents() -> None:
    """Every few seconds: the contents of large captures become readable in SQL."""
    sql_contents.keep_recent()
