"""What a promotion does to its target, and how it ends.

- ``starting``: the services that start, cancel, roll back and release
- ``execution``: all of it, or the target as it was; ``approved_content``, ``outdated``: what is written
- ``automatic_rollback``: the one that the console does by itself; ``manual_rollback``: the one that a person asks for
- ``target``, ``ownership``, ``kept_published``: what is in the target, and whose it is
- ``results``: how it ended; ``status_sync``: promotions whose job ended without them
- ``preparation``: creates what the target lacks
- ``attention_mail``, ``recipients``: who is told of a target left half-way; ``reconcile_record``: what drift approved
"""
