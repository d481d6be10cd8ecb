"""Addresses of reports: the same pages in a tenant and for the platform."""

from django.urls import path

from . import views

PAGES = (
    ("reports/", "reports", views.reports, views.platform_reports),
    ("reports/schedules/<uuid:pk>/", "report-schedule", views.schedule_change, views.platform_schedule_change),
    ("reports/runs/<uuid:pk>/", "report-run", views.run, views.platform_run),
    ("reports/runs/<uuid:pk>/download/", "report-download", views.download, views.platform_download),
    ("reports/runs/<uuid:pk>/manifest/", "report-manifest", views.manifest, views.platform_manifest),
    ("reports/runs/<uuid:pk>/<str:what>/", "report-act", views.act, views.platform_act),
    ("reports/<slug:name>/", "report", views.report, views.platform_report),
    ("reports/<slug:name>/schedule/", "report-schedule-new", views.schedule_new, views.platform_schedule_new),
)
urlpatterns = [path(route, view, name=name) for route, name, view, _ in PAGES]
platform_urlpatterns = [path(f"platform/{route}", view, name=f"platform-{name}") for route, name, _, view in PAGES]
