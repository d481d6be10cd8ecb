"""Turns a failure with a code into the answer that fits the asker: page, HTMX toast or API JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import DataError, IntegrityError, ProgrammingError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from . import database_errors
from .errors import Fault, Invalid, MethodNotAllowed, NotFound, OpsError, Unavailable
from .limits import TooFast

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
        if iscoroutinefunction(self):
            return self._later(request)
        return _named(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> Any:
        response = await self.get_response(request)
        # A page is drawn with what the database says.
        return await sync_to_async(_named)(request, response) if response.status_code == 405 else response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, OpsError):
            return error_response(request, exception)
        if isinstance(exception, IntegrityError | ProgrammingError) and (error := database_errors.named(exception)):
            logger.warning("The database refused it: %s", request.path, exc_info=exception)
            return error_response(request, error)
        if isinstance(exception, DataError):
            # A NUL in a text, a number too large: what was sent fits no column.
            logger.warning("A value fits no column: %s", request.path, exc_info=exception)
            return error_response(request, Invalid(details={"said": str(exception).splitlines()[0][:200]}))
        return None


def _named(request: HttpRequest, response: Any) -> Any:
    """The answer; where it is a bare 405, one that says so and what to do."""
    if response.status_code != MethodNotAllowed.status:
        return response
    allowed = response.headers.get("Allow", "")
    response = error_response(request, MethodNotAllowed(f"This address takes {allowed}, not {request.method}."))
    response["Allow"] = allowed
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answers an address that leads nowhere (Django's ``handler404``): as JSON where a program asks."""
    return error_response(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """Answers what nothing else has answered, middlewares' own failures included (Django's ``handler500``)."""
    return error_response(request, database_errors.named(sys.exc_info()[1]) or Fault())


def error_response(request: HttpRequest, error: OpsError) -> HttpResponse:
    """The answer to a person or program that met ``error``."""
    response = _error_response(request, error)
    response.error_code = error.code  # type: ignore[attr-defined]
    return response


def _error_response(request: HttpRequest, error: OpsError) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"error": error.to_dict()}, status=error.status)
    htmx = HtmxDetails(request)
    if htmx and not htmx.boosted:
        response = HttpResponse(status=error.status)
        toast = {"level": "error", "title": error.title, "message": error.message, "recovery": error.recovery}
        response["HX-Trigger"] = json.dumps({"toast": {**toast, "code": error.code}})
        response["HX-Reswap"] = "none"
        return response
    if isinstance(error, Unavailable | Fault | TooFast):
        # Without the request: what a page tells about people and tenants comes from the database, which may be gone
        # or is to be left alone.
        return HttpResponse(render_to_string("error.html", {"error": error}), status=error.status)
    name = "404.html" if error.status == 404 else "error.html"
    return render(request, name, {"error": error, "back": _way_back(request)}, status=error.status)


def _way_back(request: HttpRequest) -> str:
    """The page of ours from which the request came; empty where there is none, or where it is the one that failed."""
    before = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(before, {request.get_host()}, require_https=request.is_secure()):
        return ""
    return "" if request.method == "GET" and before == request.build_absolute_uri() else before
