"""Addresses of bottles."""

from django.urls import path

from . import views

urlpatterns = [
    path("bottles/", views.bottles, name="bottles"),
    path("bottles/<uuid:pk>/", views.bottle, name="bottle"),
]
