"""THE way in which workflow content is written to n8n: restores, promotions and put-backs all come through here.

n8n's ``PUT`` takes no version to compare with, so every write is: read, compare with the hash that is expected, write,
read back, compare with the hash that is wanted. What is neither of the two is somebody else's edit and is never
overwritten. The window between the read and the write is one round trip; an edit inside it cannot be seen, which is
why the read back also compares the version that n8n gave to our own write.

**Order, and why.** An inactive workflow runs nothing, and a ``PUT`` on an active one goes live at once. So:

1. new workflows are written first, inactive, the called before the callers;
2. those that call each other in a circle get their references in a second write, still inactive;
3. existing workflows are updated. One that ends inactive is switched off *before* its content changes, so that the new
   content never runs. One that stays active is replaced in one call: switching it off first would lose the events that
   arrive meanwhile, and n8n swaps the content at once;
4. only when every content is there and proven are workflows switched on: no live workflow calls one that is half done;
5. deletions come last, when nothing calls what is deleted any more.
"""

from .effects import to_n8n
from .errors import EditedMeanwhile, HalfWritten, NotActivated, NotAsWritten
from .items import WriteItem, Written, pending, pending_keys
from .performing import created_before, creation_levels, failures, perform
from .resolver import Resolver
from .webhooks import webhook_clashes

__all__ = [
    "EditedMeanwhile",
    "HalfWritten",
    "NotActivated",
    "NotAsWritten",
    "Resolver",
    "WriteItem",
    "Written",
    "created_before",
    "creation_levels",
    "failures",
    "pending",
    "pending_keys",
    "perform",
    "to_n8n",
    "webhook_clashes",
]
