"""Addresses of the trail."""

from django.urls import path

from . import views

urlpatterns = [
    path("trail/", views.trail, name="trail"),
    path("trail/<int:pk>/", views.trail_entry, name="trail-entry"),
]
platform_urlpatterns = [
    path("platform/trail/", views.platform_trail, name="platform-trail"),
    path("platform/trail/<int:pk>/", views.platform_trail_entry, name="platform-trail-entry"),
]
