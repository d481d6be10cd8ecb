"""Real n8n instances on this machine, of several versions side by side: what `script/n8n` runs.

    script/n8n install [--version V] [--all]   five to ten minutes and 1.3 GB for each version
    script/n8n start 3 [--version V]           dev, staging and production; prints name, address and key of each
    script/n8n status | stop | versions
    script/n8n scratch --version V --data DIR --port P --json      one isolated instance, for as long as stdin is open

`versions.py` is the table of versions, `installs.py` puts them on the disk, `instances.py` runs them, `scratch.py` runs
one that reaches nothing but itself, `command.py` is the command line.
"""

from .errors import LiveN8nError
from .installs import environment, install, install_folder, installed
from .instances import LiveInstance, LiveN8n, make_api_key, port_of
from .versions import DEFAULT_VERSION, KNOWN, NEWEST, OLDEST
from .wanted import missing, wanted_versions

__all__ = [
    "DEFAULT_VERSION",
    "KNOWN",
    "NEWEST",
    "OLDEST",
    "LiveInstance",
    "LiveN8n",
    "LiveN8nError",
    "environment",
    "install",
    "install_folder",
    "installed",
    "make_api_key",
    "missing",
    "port_of",
    "wanted_versions",
]
