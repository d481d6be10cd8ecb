"""The workflows of the demo's main tenant, an outdoor shop, and what they sign in with."""

from __future__ import annotations

from .aftercare import AFTERCARE
from .called import CALLED
from .goods import GOODS
from .later import LATER
from .names import CREDENTIALS
from .selling import SELLING
from .upkeep import UPKEEP

__all__ = ["CREDENTIALS", "FLOWS", "LATER", "NAMES"]

FLOWS = (*CALLED, *SELLING, *GOODS, *AFTERCARE, *UPKEEP)
NAMES = {flow.key: flow.name for flow in (*FLOWS, *LATER)}
