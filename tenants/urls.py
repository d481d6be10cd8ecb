"""Addresses of members, tokens, settings; of tenants and people; of one's own account."""

from django.urls import path, re_path

from . import account_views, invitation_views, platform_views, views

ACTS = "link|role|shut-out|return|make-admin|remove-admin|sign-out"

urlpatterns = [
    path("members/", views.members, name="members"),
    path("members/<uuid:user_id>/role/", views.member_role, name="member-role"),
    path("members/<uuid:user_id>/remove/", views.member_remove, name="member-remove"),
    path("members/invitations/<uuid:pk>/send/", invitation_views.invitation_send, name="invitation-send"),
    path("members/invitations/<uuid:pk>/revoke/", invitation_views.invitation_revoke, name="invitation-revoke"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<uuid:pk>/revoke/", views.token_revoke, name="token-revoke"),
    path("tokens/<uuid:pk>/rotate/", views.token_rotate, name="token-rotate"),
    path("tokens/service-accounts/", views.service_account_create, name="service-account-create"),
    path("settings/", views.settings, name="tenant-settings"),
]
platform_urlpatterns = [
    path("platform/tenants/", platform_views.tenants, name="tenants"),
    path("platform/people/", platform_views.people_page, name="people"),
    re_path(
        rf"^platform/people/(?P<pk>[0-9a-f-]{{36}})/(?P<what>{ACTS})/$", platform_views.person_act, name="person-act"
    ),
    path("account/invitations/<str:secret>/", invitation_views.invitation, name="invitation"),
    path("account/email/", account_views.own_email, name="account_email"),
    path("account/sessions/", account_views.user_sessions, name="user_sessions"),
    path("account/sessions/others/end/", account_views.user_sessions_end_others, name="user_sessions_end_others"),
    path("account/sessions/<str:digest>/end/", account_views.user_session_end, name="user_session_end"),
    path("account/tokens/<uuid:pk>/revoke/", account_views.own_token_revoke, name="own-token-revoke"),
]
