"""Which browser is driven, and how it is started."""

from __future__ import annotations

import os
from pathlib import Path

#: The shell first: it is Chromium without a desktop's parts, starts faster, and does not hang on closing.
BROWSERS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


def browser_path() -> str:
    """`$CHROMIUM`, or one of Debian's; the last is named where there is none."""
    return os.environ.get("CHROMIUM") or next((path for path in BROWSERS if Path(path).exists()), BROWSERS[-1])
