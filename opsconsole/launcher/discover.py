"""Lets `manage.py` find the console that `script/up` runs, so that nobody has to copy variables."""

from __future__ import annotations

import os

from .errors import LauncherError
from .files import read_json
from .home import choose_home, lock_holder


def use_running_console() -> bool:
    """Take over the variables of the running `script/up`, unless a database is named already. Whether it did."""
    if os.environ.get("DATABASE_URL") or os.environ.get("OPSCONSOLE_MODE") == "production":
        return False
    try:
        home, _ = choose_home()
        if lock_holder(home) is None:
            return False
        variables = read_json(home.run / "environment.json")
    except (LauncherError, OSError):
        return False
    for name, value in (variables or {}).items():
        os.environ.setdefault(name, str(value))
    return bool(variables)
