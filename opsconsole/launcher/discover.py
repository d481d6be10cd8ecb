"""Lets `manage.py` find the console that `script/up` runs, so that nobody has to copy variables."""

from __future__ import annotations

import os
from typing import Any

from .errors import LauncherError
from .files import read_json
from .home import choose_home, lock_holder


def use_running_console() -> bool:
    """Take over the variables of the running `script/up`, unless a database is named already. Whether it did.

    Where none runs and nothing is named, a checkout is for developing: the settings are told so and need not guess.
    """
    if os.environ.get("DATABASE_URL") or os.environ.get("OPSCONSOLE_MODE") == "production":
        return False
    variables = _variables_of_running_console()
    for name, value in variables.items():
        os.environ.setdefault(name, str(value))
    os.environ.setdefault("OPSCONSOLE_MODE", "dev")
    return bool(variables)


def _variables_of_running_console() -> dict[str, Any]:
    try:
        home, _ = choose_home()
        if lock_holder(home) is None:
            return {}
        return read_json(home.run / "environment.json") or {}
    except (LauncherError, OSError):
        return {}
