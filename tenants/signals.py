"""News that apps above this one may want to keep (the trail does)."""

from django.dispatch import Signal

#: A person's sign-ins were ended. Arguments: ``user``, ``count``, ``by`` (or None), ``why``.
sign_ins_ended = Signal()

#: A link by which somebody becomes ``user`` was shown to ``by`` (or printed: None). Sent in the platform's scope.
sign_in_link_shown = Signal()

#: A person lost a role, a membership or the way in. Arguments: ``user``, ``by`` (or None), ``why``. Sent inside the
#: transaction that took it.
access_lost = Signal()

#: Many tokens were refused from one address: ``address``, ``tries``.
token_tries_refused = Signal()
