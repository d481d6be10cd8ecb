"""What calls of the REST API are asked, as types."""

from __future__ import annotations

from ninja import Schema
from pydantic import ConfigDict


class Asked(Schema):
    """The body of a call. A field that nobody knows is refused: misspelt, it would be taken for one left out."""

    model_config = ConfigDict(extra="forbid")
