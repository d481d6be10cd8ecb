"""The tables of this app."""

from .credentials import CredentialMapping, KnownCredential
from .environments import (
    ConnectionStatus,
    Environment,
    EnvironmentKind,
    EnvironmentSurroundings,
    EnvironmentUserObjectPermission,
)
from .executions import Execution, ExecutionFeed, LiveSpan
from .mapping import CanonicalWorkflow, MapStatus, WorkflowEnvMap
from .starters import UNSETTLED, StarterKind, StarterWatch, Telling, WatchState

__all__ = [
    "UNSETTLED",
    "CanonicalWorkflow",
    "ConnectionStatus",
    "CredentialMapping",
    "Environment",
    "EnvironmentKind",
    "EnvironmentSurroundings",
    "EnvironmentUserObjectPermission",
    "Execution",
    "ExecutionFeed",
    "KnownCredential",
    "LiveSpan",
    "MapStatus",
    "StarterKind",
    "StarterWatch",
    "Telling",
    "WatchState",
    "WorkflowEnvMap",
]
