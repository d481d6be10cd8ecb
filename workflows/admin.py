"""Environments and identities in the admin."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ConsoleAdmin

from .models import (
    ApprovalPolicy,
    CanonicalWorkflow,
    CredentialMapping,
    Environment,
    EnvironmentSurroundings,
    EnvironmentUserObjectPermission,
    Execution,
    ExecutionFeed,
    GuardChange,
    KnownCredential,
    LiveSpan,
    StarterWatch,
    WorkflowEnvMap,
)


@admin.register(Environment)
class EnvironmentAdmin(ConsoleAdmin):
    list_display = ("name", "tenant", "kind", "connection_status", "n8n_version", "last_captured_at", "is_archived")
    list_filter = ("kind", "connection_status", "is_archived")
    search_fields = ("name", "slug", "tenant__name")
    list_select_related = ("tenant",)
    exclude = ("api_key_encrypted",)


@admin.register(CanonicalWorkflow)
class CanonicalWorkflowAdmin(ConsoleAdmin):
    list_display = ("key", "name", "tenant", "created_at")
    search_fields = ("key", "name")
    list_select_related = ("tenant",)


@admin.register(WorkflowEnvMap)
class WorkflowEnvMapAdmin(ConsoleAdmin):
    list_display = ("env_name", "environment", "status", "env_workflow_id", "seen_at")
    list_filter = ("status",)
    search_fields = ("env_name", "env_workflow_id")
    list_select_related = ("environment",)


@admin.register(CredentialMapping)
class CredentialMappingAdmin(ConsoleAdmin):
    list_display = ("credential_type", "source_name", "source_environment", "target_name", "target_environment")
    list_select_related = ("source_environment", "target_environment")


@admin.register(KnownCredential)
class KnownCredentialAdmin(ConsoleAdmin):
    list_display = ("name", "credential_type", "environment", "uses", "last_seen_at")
    list_select_related = ("environment",)


@admin.register(EnvironmentUserObjectPermission)
class EnvironmentGrantAdmin(ConsoleAdmin):
    list_display = ("user", "permission", "content_object", "tenant")
    list_select_related = ("user", "permission__content_type", "content_object", "tenant")


@admin.register(Execution)
class ExecutionAdmin(ConsoleAdmin):
    list_display = ("env_execution_id", "environment", "status", "started_at")
    list_filter = ("status",)
    list_select_related = ("environment",)


@admin.register(ExecutionFeed)
class ExecutionFeedAdmin(ConsoleAdmin):
    list_display = ("environment", "newest", "settled", "failures", "read_at", "next_at")
    list_select_related = ("environment",)


@admin.register(LiveSpan)
class LiveSpanAdmin(ConsoleAdmin):
    list_display = ("environment", "env_workflow_id", "version_id", "content_hash")
    list_select_related = ("environment",)


@admin.register(EnvironmentSurroundings)
class EnvironmentSurroundingsAdmin(ConsoleAdmin):
    list_display = ("environment", "updated_at")
    list_select_related = ("environment",)


@admin.register(StarterWatch)
class StarterWatchAdmin(ConsoleAdmin):
    list_display = ("workflow_name", "node", "environment", "kind", "state", "since", "deadline", "telling")
    list_filter = ("state", "kind", "telling")
    search_fields = ("workflow_key", "workflow_name", "env_workflow_id")
    list_select_related = ("environment",)


@admin.register(ApprovalPolicy)
class ApprovalPolicyAdmin(ConsoleAdmin):
    list_display = ("tenant", "allows_jumps", "updated_at")
    list_select_related = ("tenant",)


@admin.register(GuardChange)
class GuardChangeAdmin(ConsoleAdmin):
    list_display = ("__str__", "tenant", "requested_by", "created_at", "approved", "decided_by")
    list_filter = ("kind", "approved")
    list_select_related = ("tenant", "environment", "account", "requested_by", "decided_by")
