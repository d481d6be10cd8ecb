"""The console's settings with one app more."""

import os

from opsconsole.settings import *  # noqa: F403
from opsconsole.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS[:-1], os.environ.get("SAMPLE_APP", "tests.sample_app"), OURS[-1]]
