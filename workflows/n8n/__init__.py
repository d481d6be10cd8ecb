"""n8n's public API: a client that is careful with writes, and the capabilities of an instance."""

from .address import AddressPolicy
from .check import check_connection
from .client import CachedPage, Limits, N8nClient, Page, WriteResult
from .errors import AmbiguousWrite, N8nError
from .listing import PAGE_SIZES
from .report import ConnectionReport
from .spec import Capabilities

__all__ = [
    "PAGE_SIZES",
    "AddressPolicy",
    "AmbiguousWrite",
    "CachedPage",
    "Capabilities",
    "ConnectionReport",
    "Limits",
    "N8nClient",
    "N8nError",
    "Page",
    "WriteResult",
    "check_connection",
]
