"""Addresses of drift."""

from django.urls import path

from . import views

urlpatterns = [
    path("drift/", views.drift, name="drift"),
    path("drift/policy/", views.policy, name="drift-policy"),
    path("drift/schedule/", views.schedule, name="drift-schedule"),
    path("drift/check/", views.check, name="drift-check"),
    path("drift/settle/", views.settle, name="drift-settle"),
    path("drift/<uuid:pk>/", views.incident, name="drift-incident"),
]
