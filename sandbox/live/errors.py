"""What can go wrong with real instances."""

from __future__ import annotations


class LiveN8nError(Exception):
    """Real n8n instances cannot be had; the message says what to do."""
