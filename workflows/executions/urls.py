"""Addresses below an environment's executions."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.executions, name="executions"),
    path("read/", views.read_now, name="executions-read"),
    path("retry/", views.retry, name="executions-retry"),
]
