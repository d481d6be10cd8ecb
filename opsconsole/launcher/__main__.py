"""`python -m opsconsole.launcher`: up, test, services, exec."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older one is told
    sys.exit("OpsConsole needs Python 3.11 or newer. Way out: OPSCONSOLE_PYTHON=/path/to/python3.12 script/up")

from .commands import main

sys.exit(main(sys.argv[1:]))
