"""``python -m sandbox.live``: see `command.py`."""

import sys

from .command import main

sys.exit(main())
