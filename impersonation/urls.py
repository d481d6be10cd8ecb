"""Addresses of support sessions: for customers, for staff, and a person's own choice."""

from django.urls import path

from . import customer_views, emergency_views, revert_views, views

urlpatterns = [
    path("emergency/", emergency_views.page, name="tenant-emergency"),
    path("support/", customer_views.access, name="support-access"),
    path("support/policy/", customer_views.policy, name="support-policy"),
    path("support/requests/<uuid:pk>/", customer_views.request_answer, name="support-access-answer"),
    path("support/sessions/<uuid:pk>/", customer_views.session, name="support-access-session"),
    path("support/sessions/<uuid:pk>/events/", customer_views.session_events, name="support-access-events"),
    path("support/sessions/<uuid:pk>/end/", customer_views.session_end, name="support-access-end"),
    path("support/sessions/<uuid:pk>/revert/", revert_views.customer, name="support-access-revert"),
]
platform_urlpatterns = [
    path("platform/support/", views.sessions, name="support-sessions"),
    path("platform/support/start/", views.start, name="support-start"),
    path("platform/support/mine/", views.mine, name="support-mine"),
    path("platform/support/mine/<str:what>/", views.mine_act, name="support-mine-act"),
    path("platform/support/sessions/<uuid:pk>/", views.session, name="support-session"),
    path("platform/support/sessions/<uuid:pk>/events/", views.session_events, name="support-session-events"),
    path("platform/support/sessions/<uuid:pk>/end/", views.session_end, name="support-session-end"),
    path("platform/support/sessions/<uuid:pk>/revert/", revert_views.staff, name="support-session-revert"),
    path("platform/support/end-all/", views.end_all, name="support-end-all"),
    path("platform/support/requests/<uuid:pk>/", views.request_answer, name="support-answer"),
    path("account/support/", customer_views.opt_out, name="support-opt-out"),
]
