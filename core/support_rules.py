"""What a support session may do at an address: said at its view. Where a view says nothing, the answer is no.

    @in_support_session(READS)
    @tenant_page(Grants.VIEW)
    def jobs(request: HttpRequest, visit: Visit) -> HttpResponse: ...

An endpoint of the API says it in the same way, each for its own method.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from ninja.operation import Operation, PathView


class Rule(StrEnum):
    """What happens to a request made in a support session."""

    READ = "read"  #: in both modes, as the customer's user
    WRITE = "write"  #: in write mode only, as the customer's user
    DENIED = "denied"  #: never: it belongs to the customer's own people
    LEAVE = "leave"  #: the platform's and the person's own pages: end the session first
    OUTSIDE = "outside"  #: as the person that one is, with the session not in force (ending it, health, signing out)


View = TypeVar("View", bound=Callable[..., Any])
#: The fields of the form that is sent; of GET those of the query.
Sent = Mapping[str, str]
#: A rule, or what decides by what is sent.
Choice = Rule | Callable[[Sent], Rule]

METHODS = ("get", "post", "put", "patch", "delete")
#: HEAD and OPTIONS tell no more than GET.
LIKE_GET = frozenset({"get", "head", "options"})


@dataclass(frozen=True, slots=True)
class SupportRules:
    """The rules of one view: GET (HEAD and OPTIONS with it) and each other method that it takes."""

    get: Choice = Rule.DENIED
    post: Choice = Rule.DENIED
    put: Choice = Rule.DENIED
    patch: Choice = Rule.DENIED
    delete: Choice = Rule.DENIED

    def choice(self, method: str) -> Choice:
        """What is said of a method; of one that nobody has thought of: no."""
        name = "get" if method.lower() in LIKE_GET else method.lower()
        choice: Choice = getattr(self, name) if name in METHODS else Rule.DENIED
        return choice

    def rule(self, method: str, sent: Sent) -> Rule:
        """What a session may do with this method and these fields of a form."""
        choice = self.choice(method)
        return choice if isinstance(choice, Rule) else choice(sent)


READS = SupportRules(get=Rule.READ)
WRITES = SupportRules(post=Rule.WRITE)
READS_AND_WRITES = SupportRules(get=Rule.READ, post=Rule.WRITE)
NEVER = SupportRules()
LEAVES = SupportRules(get=Rule.LEAVE, post=Rule.LEAVE, put=Rule.LEAVE, patch=Rule.LEAVE, delete=Rule.LEAVE)
OUTSIDE = SupportRules(get=Rule.OUTSIDE, post=Rule.OUTSIDE, delete=Rule.OUTSIDE)


def in_support_session(rules: SupportRules) -> Callable[[View], View]:
    """Declare what a support session may do at a view. Above or below its other decorators, they keep what is said."""

    def declare(view: View) -> View:
        view.support_rules = rules  # type: ignore[attr-defined]
        return view

    return declare


def declared(view: Callable[..., Any], method: str = "GET") -> SupportRules | None:
    """What a view says; of several endpoints at one address, the one that takes the method. None: it says nothing."""
    rules: SupportRules | None = getattr(_taker(view, method), "support_rules", None)
    return rules


def endpoints(view: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The functions that have to say something: the view, or every endpoint of the API behind it."""
    operations = _operations(view)
    yield from (operation.view_func for operation in operations)
    if not operations:
        yield view


def place_of(view: Callable[..., Any]) -> str:
    """Where somebody finds a view: ``drift/views.py:44, settle``."""
    code = getattr(inspect.unwrap(view), "__code__", None)
    if code is None:
        return repr(view)
    path = Path(code.co_filename)
    shown = path.relative_to(settings.BASE_DIR) if path.is_relative_to(settings.BASE_DIR) else path
    return f"{shown}:{code.co_firstlineno}, {code.co_name}"


def _taker(view: Callable[..., Any], method: str) -> Callable[..., Any]:
    operations = _operations(view)
    if not operations:
        return view
    name = "GET" if method.lower() in LIKE_GET else method.upper()
    # A method that none of them takes is refused by the API itself; until then the first one speaks for all.
    return next((one for one in operations if name in one.methods), operations[0]).view_func


def _operations(view: Callable[..., Any]) -> list[Operation]:
    """The operations behind a view of the API: ninja hands out a function that keeps its ``PathView`` to itself."""
    if getattr(view, "__module__", "") != PathView.__module__:
        return []
    kept = (cell.cell_contents for cell in getattr(view, "__closure__", None) or ())
    return next((found.operations for found in kept if isinstance(found, PathView)), [])
