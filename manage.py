#!/usr/bin/env python
"""Django's command line for OpsConsole."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    from opsconsole.launcher.discover import use_running_console

    use_running_console()
    from django.core.management import execute_from_command_line

    from core import context

    context.set_current(context.ActionContext(source="shell"))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
