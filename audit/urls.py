"""Addresses of the trail."""

from django.urls import path

from . import views

urlpatterns = [
    path("trail/", views.trail, name="trail"),
    path("trail/export/", views.trail_export, name="trail-export"),
    path("trail/<int:pk>/", views.trail_entry, name="trail-entry"),
]
platform_urlpatterns = [
    path("platform/trail/", views.platform_trail, name="platform-trail"),
    path("platform/trail/export/", views.platform_trail_export, name="platform-trail-export"),
    path("platform/trail/<int:pk>/", views.platform_trail_entry, name="platform-trail-entry"),
]
