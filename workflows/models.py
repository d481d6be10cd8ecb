"""Environments, workflows as they are known across them, and where each one lives."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from guardian.models import UserObjectPermissionBase

from tenants.base import TenantModel
from tenants.models import SLUG, Tenant, User

if TYPE_CHECKING:
    from .n8n.spec import Capability


class EnvironmentKind(models.TextChoices):
    DEV = "dev", "Development"
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"


class ConnectionStatus(models.TextChoices):
    UNKNOWN = "unknown", "Not tested"
    OK = "ok", "Reachable"
    FAILED = "failed", "Failing"


class Environment(TenantModel):
    """One n8n instance of a tenant. ``position`` is its place in the pipeline, dev first."""

    name = models.CharField(max_length=120)
    slug = models.CharField(max_length=48, validators=[SLUG])
    kind = models.CharField(max_length=16, choices=EnvironmentKind.choices)
    position = models.PositiveSmallIntegerField(default=0)
    base_url = models.CharField(max_length=500)
    api_key_encrypted = models.TextField(blank=True)
    is_archived = models.BooleanField(default=False)

    n8n_version = models.CharField(max_length=32, blank=True)
    connection_status = models.CharField(
        max_length=8, choices=ConnectionStatus.choices, default=ConnectionStatus.UNKNOWN
    )
    connection_report = models.JSONField(null=True, blank=True)
    last_checked_at = models.DateTimeField(null=True, blank=True)
    last_captured_at = models.DateTimeField(null=True, blank=True)
    last_snapshot_id = models.UUIDField(null=True, blank=True)
    last_capture_error = models.JSONField(null=True, blank=True)
    capabilities = models.JSONField(null=True, blank=True, help_text="What its n8n offers, by meaning; null: unknown.")
    learnt_settings = models.JSONField(
        default=dict, blank=True, help_text="Settings that its n8n itself gives every workflow, with their values."
    )
    baseline_commit_sha = models.CharField(max_length=64, blank=True, help_text="Tip of env/<slug> as last approved.")

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "environments"
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="environments_slug")]
        indexes = [models.Index(fields=["tenant", "position"], name="environments_order")]
        permissions = [
            ("operate_environment", "Capture, promote into, settle drift in and restore this environment"),
            ("approve_environment", "Approve promotions into this environment"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_production(self) -> bool:
        return self.kind == EnvironmentKind.PRODUCTION

    def offers(self, capability: Capability) -> bool:
        """Whether its n8n offered something when it was last asked; False where it never was."""
        return bool((self.capabilities or {}).get(capability))

    @property
    def canonical_branch(self) -> str:
        """The Git branch of what is approved here."""
        return f"env/{self.slug}"

    @property
    def seen_branch(self) -> str:
        """The Git branch of what was seen here."""
        return f"snapshots/{self.slug}"

    @property
    def write_lock(self) -> str:
        """The exclusive key of operations that write to this environment."""
        return f"environment:{self.pk}"


class EnvironmentUserObjectPermission(UserObjectPermissionBase):
    """guardian's grants on one environment, by direct foreign key."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    content_object = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")

    class Meta:
        db_table = "environment_grants"
        constraints = [
            models.UniqueConstraint(fields=["user", "permission", "content_object"], name="environment_grants_once")
        ]
        indexes = [models.Index(fields=["tenant", "user"], name="environment_grants_tenant")]


class CanonicalWorkflow(TenantModel):
    """A workflow as the tenant knows it, whatever id it has in each environment. ``key`` is its name in Git."""

    key = models.CharField(max_length=120)
    name = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "canonical_workflows"
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="canonical_workflows_key")]
        indexes = [models.Index(fields=["tenant", "name", "id"], name="canonical_workflows_name")]

    def __str__(self) -> str:
        return self.name or self.key


class MapStatus(models.TextChoices):
    LINKED = "linked", "Linked"
    UNMAPPED = "unmapped", "Not confirmed"
    IGNORED = "ignored", "Ignored"
    MISSING = "missing", "Missing"
    DELETED = "deleted", "Deleted"


class WorkflowEnvMap(TenantModel):
    """A canonical workflow in one environment.

    ``git_…`` is what is approved (branch ``env/<slug>``), ``env_…`` what was last seen; they differ where somebody
    changed the workflow behind our back. The content is what runs: the published version where there is one, else the
    draft. ``…_draft_hash`` is set where the draft is another content than what runs; ``…_facts`` are ``facts.Facts``.
    ``missing``: approved, but not seen at the last capture; ``deleted``: taken away on purpose; ``unmapped``: seen, its
    identity not confirmed by a person yet.
    """

    # The database checks both with the tenant, and finds rows by the indexes below: once is enough for thousands.
    canonical_workflow = models.ForeignKey(
        CanonicalWorkflow, on_delete=models.CASCADE, related_name="places", db_constraint=False, db_index=False
    )
    environment = models.ForeignKey(
        Environment, on_delete=models.CASCADE, related_name="places", db_constraint=False, db_index=False
    )
    env_workflow_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=16, choices=MapStatus.choices, default=MapStatus.LINKED)
    git_content_hash = models.CharField(max_length=64, null=True, blank=True)
    env_content_hash = models.CharField(max_length=64, null=True, blank=True)
    git_draft_hash = models.CharField(max_length=64, null=True, blank=True)
    env_draft_hash = models.CharField(max_length=64, null=True, blank=True)
    git_facts = models.JSONField(null=True, blank=True)
    env_facts = models.JSONField(null=True, blank=True)
    live_version = models.JSONField(null=True, blank=True, help_text="Which version runs, and whose it is.")
    draft_version = models.JSONField(
        null=True, blank=True, help_text="Which version the draft is, and whose, where n8n told it."
    )
    comparable_hash = models.CharField(
        max_length=64, null=True, blank=True, help_text="Of what was seen, credentials by type only."
    )
    normalization_version = models.SmallIntegerField(default=1)
    fingerprint = models.JSONField(
        null=True, blank=True, help_text="Of what was seen: body, references, credential names, node types."
    )
    git_fingerprint = models.JSONField(null=True, blank=True, help_text="Of what is approved, as far as known.")
    env_name = models.CharField(max_length=500, blank=True)
    env_active = models.BooleanField(null=True, blank=True)
    git_active = models.BooleanField(null=True, blank=True)
    env_tags = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    env_version_id = models.CharField(max_length=64, blank=True)
    node_count = models.IntegerField(default=0)
    content_changed_at = models.DateTimeField(null=True, blank=True, help_text="When n8n says it was last changed.")
    last_seen_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_env_map"
        constraints = [
            models.UniqueConstraint(fields=["environment", "canonical_workflow"], name="workflow_env_map_once"),
            models.UniqueConstraint(
                fields=["environment", "env_workflow_id"],
                condition=~Q(env_workflow_id="") & ~Q(status="deleted"),
                name="workflow_env_map_env_id",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "environment", "status"], name="workflow_env_map_env"),
            models.Index(fields=["tenant", "canonical_workflow"], name="workflow_env_map_canonical"),
        ]

    def __str__(self) -> str:
        return f"{self.env_name} ({self.env_workflow_id})"

    @property
    def seen_at(self) -> datetime | None:
        """When it was last seen: what is there is seen by every capture, and only written when it changes."""
        moments = [self.last_seen_at]
        if self.status not in (MapStatus.MISSING, MapStatus.DELETED) and self.env_content_hash:
            moments.append(self.environment.last_captured_at)
        return max((moment for moment in moments if moment), default=None)

    @property
    def has_draft(self) -> bool:
        """Whether the editor holds something else than what runs."""
        return bool(self.env_draft_hash)

    @property
    def draft_authors(self) -> str:
        """Who saved the draft, by n8n's word; '' where there is none or nobody was told."""
        told = self.draft_version or {}
        is_of_this = self.has_draft and told.get("version_id") == self.env_version_id
        return str(told.get("authors") or "") if is_of_this else ""

    @property
    def is_archived(self) -> bool:
        """Whether it lies in n8n's archive."""
        return bool((self.env_facts or {}).get("archived"))

    @property
    def is_drifted(self) -> bool:
        return bool(self.git_content_hash and self.env_content_hash and self.git_content_hash != self.env_content_hash)

    @property
    def is_switched(self) -> bool:
        """Whether it runs though it was approved as off, or the other way round."""
        return None not in (self.git_active, self.env_active) and self.git_active != self.env_active


class CredentialMapping(TenantModel):
    """Which credential of the target stands in for one of the source when workflows move between environments.

    One of the source is known by its id; ``source_name`` counts only where no id was given. A data table is in here
    as well, as type ``dataTable``.
    """

    source_environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    target_environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    credential_type = models.CharField(max_length=120)
    source_name = models.CharField(max_length=200)
    source_credential_id = models.CharField(max_length=64, blank=True)
    target_name = models.CharField(max_length=200)
    target_credential_id = models.CharField(max_length=64)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "credential_mappings"
        constraints = [
            models.UniqueConstraint(
                fields=["source_environment", "target_environment", "credential_type", "source_credential_id"],
                condition=~Q(source_credential_id=""),
                name="credential_mappings_once",
            ),
            models.UniqueConstraint(
                fields=["source_environment", "target_environment", "credential_type", "source_name"],
                condition=Q(source_credential_id=""),
                name="credential_mappings_by_name",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "target_environment"], name="credential_mappings_target")]

    def __str__(self) -> str:
        return f"{self.credential_type}: {self.source_name} → {self.target_name}"


class KnownCredential(TenantModel):
    """A credential that workflows of an environment were seen to use, or that its list or a person named.

    ``name`` is what the instance's list says, else what most nodes call it; ``also_named`` are other names that nodes
    keep of it. ``is_gone``: used or entered once, and not on the instance's list. ``needs_secret``: made by the console
    without its secrets, which a person has to enter in n8n.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="credentials")
    credential_type = models.CharField(max_length=120)
    name = models.CharField(max_length=200)
    credential_id = models.CharField(max_length=64)
    source = models.CharField(max_length=16, default="seen", help_text="seen, listed or entered")
    uses = models.IntegerField(default=0)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    also_named = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    is_gone = models.BooleanField(default=False)
    needs_secret = models.BooleanField(default=False)
    test_state = models.CharField(max_length=16, blank=True, help_text="proven, untestable, failing, or not tested")
    test_message = models.CharField(max_length=300, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "known_credentials"
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "credential_type", "credential_id"], name="known_credentials_once"
            )
        ]
        indexes = [models.Index(fields=["tenant", "environment", "credential_type"], name="known_credentials_env")]

    def __str__(self) -> str:
        return f"{self.name} ({self.credential_type})"


class EnvironmentSurroundings(TenantModel):
    """What an environment's instance has around its workflows, as last seen: ``surroundings.Surroundings`` as JSON."""

    environment = models.OneToOneField(Environment, on_delete=models.CASCADE, related_name="surroundings")
    seen = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "environment_surroundings"


class Execution(TenantModel):
    """One run of a workflow, as its environment reported it; kept for a week (``EXECUTION_DAYS``).

    An observation of n8n's, not a write of ours: the trail does not hold it. ``number`` is n8n's own id, which rises
    with each run. ``sorted_at`` is when it began, or was first seen where it waits in n8n's queue.
    """

    # The database checks the environment with the tenant, and finds rows by the indexes below.
    environment = models.ForeignKey(
        Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    canonical_workflow = models.ForeignKey(
        CanonicalWorkflow, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    env_execution_id = models.CharField(max_length=64)
    number = models.BigIntegerField()
    env_workflow_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=24)
    mode = models.CharField(max_length=24, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.IntegerField(null=True, blank=True)
    retry_of = models.BigIntegerField(null=True, blank=True, help_text="The number of the execution that it repeats.")
    version_id = models.CharField(max_length=64, blank=True, help_text="Of the workflow that ran, where n8n tells it.")
    sorted_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "executions"
        constraints = [
            models.UniqueConstraint(fields=["environment", "number"], name="executions_once"),
        ]
        indexes = [
            models.Index(fields=["tenant", "environment", "-sorted_at", "-id"], name="executions_env"),
            models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-sorted_at"],
                include=["status", "mode", "duration_ms"],
                name="executions_workflow",
            ),
            models.Index(
                fields=["environment", "-sorted_at", "-id"],
                condition=Q(status__in=["error", "crashed"]),
                name="executions_failed",
            ),
            models.Index(
                fields=["environment", "seen_at"],
                condition=Q(status__in=["new", "running", "waiting"]),
                name="executions_open",
            ),
            models.Index(
                fields=["environment", "retry_of"], condition=Q(retry_of__isnull=False), name="executions_retries"
            ),
            models.Index(
                fields=["environment", "env_workflow_id"],
                condition=Q(canonical_workflow__isnull=True),
                name="executions_unlinked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.env_execution_id} ({self.status})"


class ExecutionFeed(TenantModel):
    """How far an environment's executions have been read, and who is reading them now.

    All up to ``settled`` has been seen; above it one that ran while it was looked for may still be missing. ``gaps``
    (``executions.collecting.Gap``, the newest first) are left for later, because one round takes only so many.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    newest = models.BigIntegerField(null=True, blank=True)
    settled = models.BigIntegerField(null=True, blank=True)
    gaps = models.JSONField(default=list)
    can_retry = models.BooleanField(null=True, blank=True, help_text="Whether this n8n can retry executions.")
    trouble = models.JSONField(null=True, blank=True)
    failures = models.IntegerField(default=0, help_text="Rounds in a row that failed.")
    read_at = models.DateTimeField(null=True, blank=True, help_text="When a round last came to its end.")
    versions_at = models.DateTimeField(null=True, blank=True, help_text="The capture whose versions were noted last.")
    next_at = models.DateTimeField()
    fence = models.BigIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "execution_feeds"
        constraints = [models.UniqueConstraint(fields=["environment"], name="execution_feeds_once")]
        indexes = [
            models.Index(fields=["tenant", "environment"], name="execution_feeds_tenant"),
            models.Index(fields=["next_at"], name="execution_feeds_due"),
        ]

    def __str__(self) -> str:
        return f"executions of {self.environment_id}"


class LiveSpan(TenantModel):
    """What ran as a workflow of an environment from one moment to another, as far as captures tell.

    ``live_until`` is when it was last seen so; None while it still is. Between two rows nobody knows what ran.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    env_workflow_id = models.CharField(max_length=64)
    content_hash = models.CharField(max_length=64)
    version_id = models.CharField(max_length=64, blank=True)
    live_from = models.DateTimeField()
    live_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_live_versions"
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "env_workflow_id"],
                condition=Q(live_until__isnull=True),
                name="workflow_live_versions_now",
            )
        ]
        indexes = [
            models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-live_from"], name="workflow_live_versions_of"
            )
        ]

    def __str__(self) -> str:
        return f"{self.env_workflow_id} {self.content_hash[:10]}"


class StarterKind(models.TextChoices):
    SCHEDULE = "schedule", "Schedule"
    POLLER = "poller", "Poller"
    ADDRESS = "address", "Address"
    EVENT = "event", "Event from outside"


class WatchState(models.TextChoices):
    WATCHED = "watched", "Watched"
    PROVEN = "proven", "Proven"
    BAD = "bad", "Does not start"
    GIVEN_UP = "given_up", "Never seen to run"
    SUPERSEDED = "superseded", "No longer watched"


#: What is still looked at: it may be proven late, or be mended in n8n.
UNSETTLED = (WatchState.WATCHED, WatchState.BAD, WatchState.GIVEN_UP)


class Telling(models.TextChoices):
    """Whether people have been told that a starter turned out bad."""

    NOBODY = "", "Nobody has to be told"
    WAITING = "waiting", "Waits to be told"
    SENDING = "sending", "Is being told"
    TOLD = "told", "Told"
    FAILED = "failed", "Could not be told"
    UNKNOWN = "unknown", "Told or not"


class StarterWatch(TenantModel):
    """A node that starts a workflow by itself, published and not proven to start it: watched after the operation.

    ``why`` it was not proven, ``fault`` why it never can start, where its rule says so. ``due_at`` is by when it
    should have run by its own rule (None: its silence says nothing), ``deadline`` when it is watched no more. ``note``
    is what was found, in a sentence; ``run_number`` the execution that proved it.
    """

    # The database checks the environment with the tenant, and finds rows by the indexes below.
    environment = models.ForeignKey(
        Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    operation_id = models.UUIDField()
    workflow_key = models.CharField(max_length=160)
    workflow_name = models.CharField(max_length=500, blank=True)
    env_workflow_id = models.CharField(max_length=64)
    version_id = models.CharField(max_length=64, blank=True, help_text="The version that was published.")
    node = models.CharField(max_length=300, blank=True)
    kind = models.CharField(max_length=16, choices=StarterKind.choices)
    address = models.CharField(max_length=1000, blank=True)
    is_alone = models.BooleanField(default=True, help_text="Whether an execution can be of no other starter.")
    why = models.CharField(max_length=300, blank=True)
    fault = models.CharField(max_length=300, blank=True)
    since = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    deadline = models.DateTimeField()
    state = models.CharField(max_length=16, choices=WatchState.choices, default=WatchState.WATCHED)
    note = models.CharField(max_length=500, blank=True)
    run_number = models.BigIntegerField(null=True, blank=True)
    run_status = models.CharField(max_length=24, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True, help_text="When n8n was last asked about it.")
    next_look_at = models.DateTimeField()
    telling = models.CharField(max_length=16, choices=Telling.choices, blank=True)
    tell_attempt = models.IntegerField(default=0)
    tell_at = models.DateTimeField(null=True, blank=True, help_text="Told then, or tried again or given up then.")
    told_note = models.CharField(max_length=1000, blank=True)

    class Meta:
        db_table = "starter_watches"
        constraints = [
            models.UniqueConstraint(
                fields=["operation_id", "env_workflow_id", "version_id", "node"], name="starter_watches_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-since"], name="starter_watches_workflow"
            ),
            models.Index(fields=["tenant", "operation_id"], name="starter_watches_operation"),
            models.Index(
                fields=["next_look_at"],
                condition=Q(state__in=["watched", "bad", "given_up"]),
                name="starter_watches_due",
            ),
            models.Index(
                fields=["tell_at"], condition=Q(telling__in=["waiting", "sending"]), name="starter_watches_telling"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_name or self.workflow_key}: {self.node}"


def environment_row(environment: Environment) -> dict[str, Any]:
    """JSON-able facts of an environment, never its key."""
    return {
        "id": str(environment.pk),
        "name": environment.name,
        "slug": environment.slug,
        "kind": environment.kind,
        "base_url": environment.base_url,
        "n8n_version": environment.n8n_version,
        "connection_status": environment.connection_status,
        "last_captured_at": environment.last_captured_at,
        "last_snapshot_id": str(environment.last_snapshot_id) if environment.last_snapshot_id else None,
        "created_at": environment.created_at,
    }
