"""The process that seals: it alone has the key, so that who breaks into web or workers cannot sign anything."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connection

from core import context

from .anchors import anchor, failing
from .sealing import seal_trail

logger = logging.getLogger(__name__)


def seal_once() -> int:
    """Seal what is settled; anchor the head when it moved or has not come through yet. How many entries were sealed."""
    sealed = seal_trail()
    if sealed or failing() is not None:
        anchor()
    return sealed


def seal_for_ever(*, every_seconds: float) -> None:
    """Seal until SIGTERM or SIGINT. A fault of one round is logged, and the next one comes as if there were none."""
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with context.acting(source="system"):
        while not ending.is_set():
            try:
                seal_once()
            except (DatabaseError, OSError, ImproperlyConfigured):
                logger.exception("the trail was not sealed; it is tried again")
            finally:
                connection.close()
            ending.wait(every_seconds)
