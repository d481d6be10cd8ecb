"""The one way in which workflow content is written to n8n: restores, promotions and roll backs all come through here.

n8n's ``PUT`` takes no version to compare with, so every write is: read, compare with the hash that is expected, write,
read back, compare with the hash that is wanted. What is neither of the two is somebody else's edit and is never
overwritten. The window between the read and the write is one round trip; an edit inside it cannot be seen, which is
why the read back also compares the version that n8n gave to our own write.

**Order, and why.** What is not published runs nothing. So:

1. new workflows are written first, unpublished, the called before the callers;
2. those that call each other in a circle get their references in a second write, still unpublished;
3. existing workflows are updated. One that ends unpublished is so *before* its content changes, so that the new content
   never runs; but where n8n runs only what is published, one that others can call waits. One that stays published gets
   its new content as a draft beside what runs (*staged*), where the instance can do that; elsewhere it is replaced in
   one call: unpublishing it first would lose the events that arrive meanwhile, and n8n swaps the content at once;
4. only when every content is there and proven are versions published, the called before their callers: no live workflow
   calls one that is half done. n8n's own checks of structure have struck by then. Then n8n is asked which addresses
   answer: its reply to a publishing proves nothing where it works in the background;
5. what waited is unpublished, the callers before the called: nothing that still runs calls what is switched off;
6. drafts are put beside what runs, where there was one;
7. what belongs into the archive goes there, and deletions come last, the callers before the called.
"""

from .effects import to_n8n
from .errors import Archived, EditedMeanwhile, HalfWritten, NotActivated, NotAsWritten
from .items import Release, WriteItem, Written, pending, pending_keys
from .performing import created_before, creation_levels, failures, perform
from .resolver import Resolver
from .target import WriteTarget
from .there import There
from .webhooks import webhook_clashes

__all__ = [
    "Archived",
    "EditedMeanwhile",
    "HalfWritten",
    "NotActivated",
    "NotAsWritten",
    "Release",
    "Resolver",
    "There",
    "WriteItem",
    "WriteTarget",
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
