"""Addresses of promotions."""

from django.urls import path

from . import views
from .reviewing.views import review

urlpatterns = [
    path("promotions/", views.promotion_list, name="promotions"),
    path("promotions/new/", views.promotion_new, name="promotion-create"),
    path("promotions/credential/", views.credential_map, name="promotion-credential"),
    path("promotions/<uuid:pk>/", views.promotion_detail, name="promotion"),
    path("promotions/<uuid:pk>/events/", views.promotion_events, name="promotion-events"),
    path("promotions/<uuid:pk>/review/<slug:key>/", review, name="promotion-review"),
]
