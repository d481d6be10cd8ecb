"""Errors of calls to n8n."""

from __future__ import annotations

from typing import ClassVar

from core.errors import OpsError


class N8nError(OpsError):
    """A call to an n8n instance failed. `transient`: the same call may succeed later without anybody's help."""

    code = "N8N_000"
    title = "The n8n instance did not do it"
    message = "The n8n instance answered with an error."
    recovery = "Test the environment's connection; its report names what is wrong."
    status = 502
    transient: ClassVar[bool] = False


class AddressRefused(N8nError):
    code = "N8N_001"
    title = "This address is not allowed"
    message = "The address of the environment is not one that may be reached from here."
    recovery = "Use the public address of the instance, or have its network added to the allowed private networks."
    status = 422


class NameNotFound(N8nError):
    code = "N8N_002"
    title = "The host's name is unknown"
    message = "The name of the host cannot be resolved."
    recovery = "Check the address for a typing error, and that its DNS record exists."
    transient = True


class Unreachable(N8nError):
    code = "N8N_003"
    title = "The instance cannot be reached"
    message = "No connection to the n8n instance could be made."
    recovery = "Check that n8n runs, that the port is right, and that no firewall stands between."
    transient = True


class TlsFailed(N8nError):
    code = "N8N_004"
    title = "The certificate is not trusted"
    message = "The certificate of the instance could not be verified."
    recovery = "Renew the certificate, use the name it was issued for, or add its authority to the trusted ones."


class TimedOut(N8nError):
    code = "N8N_005"
    title = "The instance is too slow"
    message = "The n8n instance did not answer in time."
    recovery = "Look at the load of the instance, then try again."
    status = 504
    transient = True


class ConnectionDropped(N8nError):
    code = "N8N_006"
    title = "The connection broke"
    message = "The connection broke before the answer was complete."
    recovery = "Try again; if it happens often, look at the proxy in front of n8n."
    transient = True


class NotAnApi(N8nError):
    code = "N8N_007"
    title = "This does not answer like n8n"
    message = "The address answers, but not as n8n's public API does."
    recovery = (
        "Give the address under which the editor opens, without a path such as /api/v1; "
        "and check that the public API is not switched off (N8N_PUBLIC_API_DISABLED)."
    )


class TooLarge(N8nError):
    code = "N8N_008"
    title = "The answer is too large"
    message = "The answer of the n8n instance is larger than is accepted here."
    recovery = "Reduce pinned data in the workflows, or raise the limit."


class Unauthorized(N8nError):
    code = "N8N_010"
    title = "The API key is not accepted"
    message = "The n8n instance does not accept the API key."
    recovery = "Create a new key in n8n under Settings → n8n API, and enter it in the environment's settings."


class ScopeMissing(N8nError):
    code = "N8N_011"
    title = "The API key may not do this"
    message = "The API key is valid, but lacks the scope for this call."
    recovery = "Create a key with the scopes for workflows, tags and executions."


class NotLicensed(N8nError):
    code = "N8N_012"
    title = "Not on this plan"
    message = "The licence of the n8n instance does not include this function."
    recovery = "Nothing is wrong with the key; do without the function, or upgrade the n8n plan."


class RemoteNotFound(N8nError):
    code = "N8N_013"
    title = "Not there any more"
    message = "The n8n instance has no such workflow."
    recovery = "Capture the environment again to see what is there now."
    status = 404


class RateLimited(N8nError):
    code = "N8N_014"
    title = "Too many calls"
    message = "The n8n instance asks to wait before the next call."
    recovery = "Try again after the time it names, or raise the limit of the key."
    status = 503
    transient = True

    retry_after: float | None = None


class Rejected(N8nError):
    code = "N8N_015"
    title = "n8n refused the content"
    message = "The n8n instance refused the request."
    recovery = "Read n8n's own words in the details; they name the field."
    status = 422


class RemoteConflict(N8nError):
    code = "N8N_016"
    title = "n8n sees a conflict"
    message = "The n8n instance says that this clashes with something that is already there."
    recovery = "Capture the environment and look at what is there."
    status = 409


class VersionUnsupported(N8nError):
    code = "N8N_017"
    title = "This n8n cannot do that"
    message = "This version of n8n does not offer the call."
    recovery = "Upgrade n8n, or do this step in its editor."


class ServerFailed(N8nError):
    code = "N8N_018"
    title = "n8n failed"
    message = "The n8n instance, or a proxy in front of it, reports a fault of its own."
    recovery = "Look at the log of n8n, then try again."
    transient = True


class ListMoved(N8nError):
    code = "N8N_019"
    title = "The list keeps changing"
    message = "Workflows were added or deleted all the while the list was read."
    recovery = "Try again when fewer people edit."
    transient = True


class AmbiguousWrite(N8nError):
    """It is unknown whether the write was carried out. Verify before retrying."""

    code = "N8N_020"
    title = "It is not known whether it was written"
    message = "The connection failed after the write was sent; n8n may have carried it out or not."
    recovery = "Read the workflow from n8n and compare it before writing again."
    ambiguous: ClassVar[bool] = True


class StillUnpublishing(N8nError):
    code = "N8N_021"
    title = "n8n is still unpublishing it"
    message = "n8n has not finished unpublishing the workflow, and deletes nothing before that."
    recovery = "Try again in some minutes; if it stays so, restart n8n and look at its log."
    status = 409
    transient = True


class NotAsked(N8nError):
    """Nothing was sent."""

    code = "N8N_022"
    title = "This cannot be asked of n8n"
    message = "A name, an id or a path holds what no request can carry, so n8n was not asked."
    recovery = "Look in n8n for an address or a name with characters that cannot be seen, or of extreme length."
    status = 422
