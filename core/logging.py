"""Log lines as one JSON object each, without secrets."""

from __future__ import annotations

import logging
import re
from typing import Any

import structlog

_SECRET_NAME = re.compile(r"(api[_-]?key|token|password|secret|authorization|cookie)", re.IGNORECASE)


def mask_secrets(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace the values of keys that name a secret."""
    for key in event:
        if _SECRET_NAME.search(key):
            event[key] = "••••"
    return event


def formatter() -> logging.Formatter:
    """The formatter that settings name: structlog's processors over standard records."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
