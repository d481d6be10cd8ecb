"""The places where a worker may be killed: between any two of them the work on record is whole."""

from core.checkpoints import boundary_observers, checkpoint

__all__ = ["boundary_observers", "checkpoint"]
