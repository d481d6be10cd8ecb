"""Addresses of jobs."""

from django.urls import path

from . import views

urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<uuid:pk>/", views.job, name="job"),
    path("jobs/<uuid:pk>/cancel/", views.job_cancel, name="job-cancel"),
    path("jobs/<uuid:pk>/retry/", views.job_retry, name="job-retry"),
    path("jobs/<uuid:pk>/give-up/", views.job_give_up, name="job-give-up"),
    path("jobs/<uuid:pk>/events/", views.job_events, name="job-events"),
]
platform_urlpatterns = [
    path("platform/jobs/", views.platform_jobs, name="platform-jobs"),
    path("platform/jobs/<uuid:pk>/", views.platform_job, name="platform-job"),
    path("platform/jobs/<uuid:pk>/<str:what>/", views.platform_job_act, name="platform-job-act"),
]
