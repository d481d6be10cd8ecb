"""The ASGI entry point that the web server runs."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
application = get_asgi_application()

from opsconsole.core import collector  # noqa: E402 - needs the apps loaded
from opsconsole.launcher.guards import refuse_unsafe_start  # noqa: E402 - needs the apps loaded

refuse_unsafe_start()
collector.settle()
