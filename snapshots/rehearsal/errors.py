"""What can go wrong around a rehearsal."""

from __future__ import annotations

from core.errors import Conflict, OpsError


class ScratchUnavailable(OpsError):
    """``details["said"]``: the last words of the command that was to start it."""

    code = "REHEARSE_001"
    title = "No n8n to rehearse on"
    message = "An n8n of that version could not be started on the console's machine."
    recovery = (
        "It needs Node and npm there, and the registry for the first time: run script/n8n install --version <version>"
        " on that machine and read what it says, or set OPSCONSOLE_REHEARSAL_COMMAND."
    )
    status = 503


class ScratchEnded(OpsError):
    code = "REHEARSE_002"
    title = "The n8n of the rehearsal ended"
    message = "The n8n that the rehearsal ran on ended or did not answer any more."
    recovery = "Rehearse again; if it happens again, the machine may lack memory (an n8n takes about 500 MB)."
    status = 503


class RehearsalTooLong(OpsError):
    code = "REHEARSE_003"
    title = "The rehearsal took too long"
    message = "The rehearsal was stopped because it took longer than it may."
    recovery = "Rehearse again when the machine is less busy, or raise OPSCONSOLE_REHEARSAL_SECONDS."
    status = 504


class OneAtATime(Conflict):
    code = "REHEARSE_004"
    title = "Another rehearsal is running"
    message = "Only one rehearsal runs on the console's machine at a time."
    recovery = "Wait for it to end, then rehearse again."


class NothingToRehearse(Conflict):
    code = "REHEARSE_005"
    title = "Nothing to rehearse with"
    message = "The environment was never captured, and it cannot be captured now."
    recovery = "Capture the environment first."


class RehearsalsOff(Conflict):
    code = "REHEARSE_006"
    title = "Rehearsals are switched off"
    message = "Whoever runs this console does not let it start an n8n of its own."
    recovery = "Ask them to set OPSCONSOLE_REHEARSALS=1; an upgrade is looked at after it was made in any case."
