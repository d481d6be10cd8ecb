"""Addresses of the matrix, environments, identities and credentials."""

from django.urls import include, path

from . import access_views, approval_views, first_steps, mapping_views, trying_views, views

urlpatterns = [
    path("", views.matrix, name="tenant-home"),
    path("matrix/go/", views.matrix_go, name="matrix-go"),
    path("first-steps/hide/", first_steps.hide, name="first-steps-hide"),
    path("environments/", views.environments, name="environments"),
    path("environments/new/", views.environment_create, name="environment-create"),
    path("environments/<uuid:pk>/", views.environment, name="environment"),
    path("environments/<slug:environment_slug>/", views.environment_by_slug, name="environment"),
    path("environments/<uuid:pk>/edit/", views.environment_edit, name="environment-edit"),
    path("environments/<uuid:pk>/archive/", views.environment_archive, name="environment-archive"),
    path("environments/<uuid:pk>/test/", views.environment_test, name="environment-test"),
    path("environments/<uuid:pk>/executions/", include("workflows.executions.urls")),
    path("environments/<uuid:pk>/workflows/<slug:key>/test/", trying_views.workflow_test, name="workflow-test"),
    path("environments/<uuid:pk>/mapping/", mapping_views.mapping, name="environment-mapping"),
    path("approval-rules/", approval_views.approval_rules, name="approval-rules"),
    path("approval-rules/<uuid:pk>/", approval_views.guard_answer, name="guard-answer"),
    path("members/<uuid:user_id>/", access_views.member_access, name="member-access"),
    path("credentials/", mapping_views.credentials, name="credentials"),
    path("credentials/enter/", mapping_views.credential_enter, name="credential-enter"),
]
