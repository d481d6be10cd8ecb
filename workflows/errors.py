"""What can go wrong with environments, mappings, credentials and the content of workflows."""

from __future__ import annotations

from core.errors import Conflict, Forbidden, Invalid, OpsError


class EnvironmentInvalid(Invalid):
    code = "ENV_001"
    title = "The environment cannot be saved like this"
    message = "Some values of the environment cannot be used."


class EnvironmentSlugTaken(Conflict):
    code = "ENV_002"
    title = "That short name is taken"
    message = "Another environment of this tenant already uses this short name."
    recovery = "Choose another short name."


class EnvironmentInUse(Conflict):
    code = "ENV_003"
    title = "The environment is busy"
    message = "A job is working on this environment."
    recovery = "Wait for the job to end, or cancel it, then try again."


class EnvironmentArchived(Conflict):
    code = "ENV_004"
    title = "The environment is archived"
    message = "An archived environment is kept for its history only; nothing connects to it any more."
    recovery = "Bring it back from the archive first."


class NoApiKey(OpsError):
    code = "ENV_005"
    title = "No API key"
    message = "This environment has no API key, so n8n cannot be asked anything."
    recovery = "Create an API key in n8n (Settings, n8n API) and enter it in the environment's form."
    status = 409


class AlreadyAsked(Conflict):
    code = "ENV_006"
    title = "n8n is already being read"
    message = "The workflows of this environment are being read right now."
    recovery = "Try again in a few seconds, or ask for what the last capture saw (stored=true)."


class ReasonNeeded(Forbidden):
    """A platform admin acts where they hold no role: possible, and never without saying why."""

    code = "EMERGENCY_001"
    asks_for_a_header = True
    title = "Say why"
    message = "You hold no role in this tenant. As a platform admin you may do this with a reason that its owners read."
    recovery = "Send it as the header X-OpsConsole-Reason (10 to 500 characters), or ask an owner for a role."


class ReasonUnusable(Invalid):
    code = "EMERGENCY_002"
    asks_for_a_header = True
    title = "That reason cannot be used"
    message = "A reason has 10 to 500 characters."
    recovery = "Say in a sentence what happened, in the header X-OpsConsole-Reason."


class OwnGuardChange(Forbidden):
    code = "GUARD_001"
    title = "Not your own change"
    message = "A change that lowers a guard is agreed to by somebody other than the person who asked for it."
    recovery = "Ask another owner; where there is none, invite one."


class GuardChangeOver(Conflict):
    code = "GUARD_002"
    title = "Nothing waits for an answer"
    message = "This change was answered, replaced by another, or nobody answered in time."
    recovery = "Reload the page; ask for the change again if it is still wanted."


class MappingTaken(Conflict):
    code = "MAP_001"
    title = "Already linked"
    message = "That workflow already has another counterpart in this environment."
    recovery = "Ignore or separate the other one first, then link this one."


class MappingGone(Conflict):
    code = "MAP_002"
    title = "Nothing to link"
    message = "This workflow is no longer in the environment."
    recovery = "Capture the environment again, then check the workflow mapping."


class DuplicateId(Conflict):
    code = "MAP_003"
    title = "One n8n id, two workflows"
    message = "Another workflow of this environment already has this n8n id."
    recovery = "Capture the environment again; if it stays like this, separate the two on the mapping page."


class MappingInvalid(Invalid):
    code = "CRED_001"
    title = "The mapping cannot be saved like this"
    message = "A credential mapping needs two environments, a type and a name on both sides."


class ContentError(OpsError):
    """A file or an answer that is no workflow."""

    code = "CONTENT_001"
    title = "Not a workflow"
    message = "This is not a workflow that can be read."
    recovery = "Export the workflow from n8n again, or restore an earlier version of the file."
    status = 422
