"""What beat wakes."""

from celery import shared_task


@shared_task(name="sample_app.tasks.count")
def count() -> None:
    """Count the bottles."""
