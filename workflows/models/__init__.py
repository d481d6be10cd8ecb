"""The tables of this app."""

from .comments import Comment
from .credentials import CredentialMapping, KnownCredential
from .environments import (
    ConnectionStatus,
    Environment,
    EnvironmentKind,
    EnvironmentSurroundings,
    EnvironmentUserObjectPermission,
)
from .executions import Execution, ExecutionFeed, LiveSpan
from .guards import ApprovalPolicy, GuardChange, GuardKind
from .mapping import CanonicalWorkflow, MapStatus, WorkflowEnvMap
from .starters import UNSETTLED, StarterKind, StarterWatch, Telling, WatchState

__all__ = [
    "UNSETTLED",
    "ApprovalPolicy",
    "CanonicalWorkflow",
    "Comment",
    "ConnectionStatus",
    "CredentialMapping",
    "Environment",
    "EnvironmentKind",
    "EnvironmentSurroundings",
    "EnvironmentUserObjectPermission",
    "Execution",
    "ExecutionFeed",
    "GuardChange",
    "GuardKind",
    "KnownCredential",
    "LiveSpan",
    "MapStatus",
    "StarterKind",
    "StarterWatch",
    "Telling",
    "WatchState",
    "WorkflowEnvMap",
]
