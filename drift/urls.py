"""Addresses of drift."""

from django.urls import path

from . import upgrade_views, views

urlpatterns = [
    path("drift/", views.drift, name="drift"),
    path("drift/policy/", views.policy, name="drift-policy"),
    path("drift/schedule/", views.schedule, name="drift-schedule"),
    path("drift/check/", views.check, name="drift-check"),
    path("drift/settle/", views.settle, name="drift-settle"),
    path("drift/upgrades/", upgrade_views.upgrades, name="upgrades"),
    path("drift/upgrades/<uuid:pk>/", upgrade_views.upgrade, name="upgrade"),
    path("drift/<uuid:pk>/", views.incident, name="drift-incident"),
]
