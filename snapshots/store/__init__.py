"""The Git store: everything the console keeps of workflows, as commits that plain Git can read.

Pure Python over Git's plumbing; knows no Django models and opens no database. Start at :class:`GitStore`.
"""

from .errors import (
    BadName,
    BranchMoved,
    ContentDamaged,
    ContentMissing,
    GitUnusable,
    PushFailed,
    PushRefusedLogin,
    PushRejected,
    PushUnreachable,
    RemoteNotAllowed,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreNotWritable,
    WriteFailed,
)
from .history import CommitInfo, LogPage, ManifestRef, TreeDiff
from .maintenance import Care, Size, StoreFinding, Verification
from .names import Person, encode_component
from .objects import Reader, blob_name
from .push import Pushed, Remote, check_remote
from .store import GitStore
from .writer import Writer, WriteStats

__all__ = [
    "BadName",
    "BranchMoved",
    "Care",
    "CommitInfo",
    "ContentDamaged",
    "ContentMissing",
    "GitStore",
    "GitUnusable",
    "LogPage",
    "ManifestRef",
    "Person",
    "PushFailed",
    "PushRefusedLogin",
    "PushRejected",
    "PushUnreachable",
    "Pushed",
    "Reader",
    "Remote",
    "RemoteNotAllowed",
    "Size",
    "StoreCorrupt",
    "StoreFinding",
    "StoreFull",
    "StoreLocked",
    "StoreMissing",
    "StoreNotWritable",
    "TreeDiff",
    "Verification",
    "WriteFailed",
    "WriteStats",
    "Writer",
    "blob_name",
    "check_remote",
    "encode_component",
]
