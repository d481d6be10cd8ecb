"""Addresses of drift."""

from django.urls import path

from . import comment_views, configuration_views, settling_views, upgrade_views, views

urlpatterns = [
    path("drift/", views.drift, name="drift"),
    path("drift/policy/", configuration_views.policy, name="drift-policy"),
    path("drift/schedule/", configuration_views.schedule, name="drift-schedule"),
    path("drift/check/", configuration_views.check, name="drift-check"),
    path("drift/settle/", settling_views.settle, name="drift-settle"),
    path("drift/upgrades/", upgrade_views.upgrades, name="upgrades"),
    path("drift/upgrades/<uuid:pk>/", upgrade_views.upgrade, name="upgrade"),
    path("drift/<uuid:pk>/", views.incident, name="drift-incident"),
    path("drift/<uuid:pk>/comments/", comment_views.discuss, name="drift-comments"),
]
