"""Addresses of the outbox: the platform's alone."""

from django.urls import path

from . import views

urlpatterns: list[object] = []
platform_urlpatterns = [
    path("platform/events/", views.events, name="platform-events"),
    path("platform/events/<uuid:pk>/retry/", views.retry, name="platform-event-retry"),
    path("platform/events/<uuid:pk>/dismiss/", views.dismiss, name="platform-event-dismiss"),
]
