"""Whether the database answers, and has connections left for this process."""

from typing import Any

from django.db import connection


def database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return {"status": "ok"}


def pool() -> dict[str, Any]:
    """This web process's connections; ``failed`` where all are taken and requests wait for one."""
    with_pool = connection.settings_dict["OPTIONS"].get("pool")
    stats: dict[str, int] = connection.pool.get_stats() if with_pool else {}  # type: ignore[attr-defined]
    waiting, free = stats.get("requests_waiting", 0), stats.get("pool_available", 0)
    is_short = bool(waiting) and not free
    used = stats.get("pool_size", 0) - free
    message = f"{used} of {stats['pool_max']} in use." if stats else "This process keeps no pool."
    return {
        "status": "failed" if is_short else "ok",
        "message": f"{message} {waiting} requests wait for one." if waiting else message,
        "connections_used": used,
        "connections_most": stats.get("pool_max"),
        "requests_waiting": waiting,
    }
