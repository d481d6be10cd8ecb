"""News that apps above this one may want to keep (the trail does)."""

from django.dispatch import Signal

#: A person's sign-ins were ended. Arguments: ``user``, ``count``, ``by`` (or None), ``why``.
sign_ins_ended = Signal()

#: Many tokens were refused from one address: ``address``, ``tries``.
token_tries_refused = Signal()
