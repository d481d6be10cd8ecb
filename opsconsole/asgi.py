"""The ASGI entry point that the web server runs."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
# Each request runs in a thread of its own, which would leave its connection behind: a pool keeps them instead.
os.environ.setdefault("OPSCONSOLE_DB_POOL", "12")
django_application = get_asgi_application()

from core import gc_tuning  # noqa: E402 - needs the apps loaded
from core.checks import refuse_what_is_undeclared  # noqa: E402 - needs the apps loaded
from core.pacing import Paced  # noqa: E402 - needs the apps loaded
from opsconsole.launcher.guards import refuse_unsafe_start  # noqa: E402 - needs the apps loaded

refuse_unsafe_start()
refuse_what_is_undeclared()
gc_tuning.settle()
application = Paced(django_application)
