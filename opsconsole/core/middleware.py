"""Turns a failure with a code into the answer that fits the asker: page, HTMX toast or API JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db import DataError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from .errors import Invalid, OpsError

logger = logging.getLogger(__name__)


class ErrorMiddleware:
    """Answers ``OpsError`` raised by any view; works under sync and async handlers."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, OpsError):
            return error_response(request, exception)
        if isinstance(exception, DataError):
            # A NUL in a text, a number too large: what was sent fits no column.
            logger.warning("A value fits no column: %s", request.path, exc_info=exception)
            return error_response(request, Invalid(details={"said": str(exception).splitlines()[0][:200]}))
        return None


def error_response(request: HttpRequest, error: OpsError) -> HttpResponse:
    """The answer to a person or program that met ``error``."""
    response = _error_response(request, error)
    response.error_code = error.code  # type: ignore[attr-defined]
    return response


def _error_response(request: HttpRequest, error: OpsError) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"error": error.to_dict()}, status=error.status)
    htmx = getattr(request, "htmx", None)
    if htmx and not htmx.boosted:
        response = HttpResponse(status=error.status)
        toast = {"level": "error", "title": error.title, "message": error.message, "recovery": error.recovery}
        response["HX-Trigger"] = json.dumps({"toast": {**toast, "code": error.code}})
        response["HX-Reswap"] = "none"
        return response
    name = "404.html" if error.status == 404 else "error.html"
    return render(request, name, {"error": error}, status=error.status)
