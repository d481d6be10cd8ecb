"""Addresses of snapshots and restores."""

from django.urls import path

from . import compare_views, diff_views, restore_views, views
from .rehearsal import views as rehearsal_views

urlpatterns = [
    path("environments/<uuid:pk>/rehearsals/", rehearsal_views.rehearsals, name="rehearsals"),
    path("rehearsals/<uuid:pk>/", rehearsal_views.rehearsal, name="rehearsal"),
    path("rehearsals/<uuid:pk>/csv/", rehearsal_views.rehearsal_csv, name="rehearsal-csv"),
    path("compare/", compare_views.compare, name="compare"),
    path("snapshots/", views.snapshots, name="snapshots"),
    path("snapshots/push/", views.snapshots_push, name="snapshots-push"),
    path("snapshots/new/", views.snapshot_create, name="snapshot-create"),
    path("snapshots/<uuid:pk>/", views.snapshot, name="snapshot"),
    path("snapshots/<uuid:pk>/verify/", views.snapshot_verify, name="snapshot-verify"),
    path("snapshots/<uuid:pk>/download/", views.snapshot_download, name="snapshot-download"),
    path("snapshots/<uuid:pk>/compare/", views.snapshot_compare, name="snapshot-compare"),
    path("snapshots/<uuid:pk>/restore/", restore_views.snapshot_restore, name="snapshot-restore"),
    path("workflows/<slug:key>/", diff_views.workflow, name="workflow"),
    path("workflows/<slug:key>/diff/", diff_views.workflow_diff, name="workflow-diff"),
]
