"""Tenants, people, what they may do, and how they are signed in."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac
from guardian.models import UserObjectPermissionBase

from .base import TenantModel
from .hashers import unsealed
from .sessions import SessionStore

SLUG = RegexValidator(r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$", "Use small letters, digits and dashes.")


class UserManager(BaseUserManager["User"]):
    """Creates people by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_superuser=True, is_staff=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class PlatformRole(models.TextChoices):
    """What a person is to the platform as a whole. Platform admins stand in their own table."""

    MEMBER = "member", "Member"
    SUPPORT = "support", "Support"
    COMPLIANCE_OFFICER = "compliance_officer", "Compliance officer"


class User(AbstractBaseUser, PermissionsMixin):
    """A person, or the service account of a machine."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    password = models.CharField(max_length=512, help_text="Its hash, encrypted.")
    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=120, blank=True)
    role = models.CharField(max_length=32, choices=PlatformRole.choices, default=PlatformRole.MEMBER)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="May open the admin. Follows from being a platform admin.")
    is_service = models.BooleanField(default=False, help_text="A service account: it has tokens, never a sign-in.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "users"
        constraints = [models.UniqueConstraint(Lower("email"), name="users_email_unique")]

    def __str__(self) -> str:
        return self.name or self.email

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django's, of the hash itself: sign-ins outlive the encryption of it, and a rotation of keys."""
        key_salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        return salted_hmac(key_salt, unsealed(self.password), secret=secret, algorithm="sha256").hexdigest()

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return (self.name or self.email).split(" ")[0]


class PlatformAdmin(models.Model):
    """The list of platform admins, one row each; deleting the row takes the power away at the next request."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="platform_admin")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        db_table = "platform_admins"

    def __str__(self) -> str:
        return str(self.user)


class TenantStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"


class Tenant(models.Model):
    """A customer: the border that nothing crosses."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    slug = models.CharField(max_length=48, unique=True, validators=[SLUG])
    status = models.CharField(max_length=16, choices=TenantStatus.choices, default=TenantStatus.ACTIVE)
    git_remote_url = models.CharField(max_length=500, blank=True)
    git_remote_username = models.CharField(max_length=100, blank=True, default="", db_default="")
    git_remote_secret = models.TextField(blank=True, help_text="Encrypted.")
    git_remote_known_hosts = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tenants"
        ordering = ["name"]
        permissions = [
            ("operate", "Capture, compare, plan and run promotions, settle drift, restore"),
            ("approve", "Approve or reject promotions"),
            ("manage_environments", "Add and change environments and their keys"),
            ("manage_members", "Invite people and give roles"),
            ("manage_tokens", "Create and revoke API tokens"),
            ("view_trail", "Read the audit trail"),
            ("administer", "Change the tenant's settings"),
        ]

    def __str__(self) -> str:
        return self.name


class TenantUserObjectPermission(UserObjectPermissionBase):
    """guardian's grants on a tenant, by direct foreign key (an index on UUIDs, not on text)."""

    id = models.BigAutoField(primary_key=True)
    content_object = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")

    class Meta:
        db_table = "tenant_grants"
        constraints = [
            models.UniqueConstraint(fields=["user", "permission", "content_object"], name="tenant_grants_once")
        ]


class TenantRole(models.TextChoices):
    """A named bundle of grants; see ``tenants.permissions.role_grants``."""

    OWNER = "owner", "Owner"
    OPERATOR = "operator", "Operator"
    APPROVER = "approver", "Approver"
    VIEWER = "viewer", "Viewer"


class Membership(TenantModel):
    """A person's place in a tenant."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=TenantRole.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        db_table = "memberships"
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="memberships_one_per_person")]
        indexes = [models.Index(fields=["user", "tenant"], name="memberships_user")]

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"


class Invitation(TenantModel):
    """An offer of a role to whoever has a mailbox, until it is answered. Its link is kept as a digest."""

    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=120, blank=True)
    role = models.CharField(max_length=16, choices=TenantRole.choices)
    secret_digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    declined_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "invitations"
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-created_at"], name="invitations_tenant")]

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"


class ApiToken(models.Model):
    """A bearer token: shown once, kept as a hash. ``tenant`` empty means every tenant its person may see."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=16, help_text="The first letters, to tell tokens apart.")
    token_hash = models.CharField(max_length=64, unique=True)
    permissions = ArrayField(models.CharField(max_length=32), default=list, blank=True, help_text="Empty: all.")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        db_table = "api_tokens"
        indexes = [models.Index(fields=["tenant", "-created_at"], name="api_tokens_tenant")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IdempotencyKey(models.Model):
    """The first answer to a POST that carried ``Idempotency-Key``, kept for a day.

    ``scope_key`` is a digest of the token and the key, so that one caller never meets another's answer. ``status`` is
    empty while the first request is still being carried out; ``body`` is empty where the answer was too large to keep.
    """

    scope_key = models.CharField(max_length=64, primary_key=True)
    request_digest = models.CharField(max_length=64)
    status = models.SmallIntegerField(null=True, blank=True)
    content_type = models.CharField(max_length=120, blank=True)
    body = models.BinaryField(null=True, blank=True)
    claimed_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "api_idempotency_keys"
        indexes = [models.Index(fields=["expires_at"], name="api_idempotency_keys_expiry")]

    def __str__(self) -> str:
        return f"{self.scope_key[:12]}…"


class UserSession(AbstractBaseSession):
    """A sign-in. Deleting the row signs the person out at the next request. Its key is a digest of the browser's."""

    session_key = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="sign_ins")
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "user_sessions"
        indexes = [models.Index(fields=["user", "-created_at"], name="user_sessions_user")]

    @classmethod
    def get_session_store_class(cls) -> Any:
        return SessionStore


class Grants:
    """Names of the grants, so that nobody types them twice."""

    VIEW = "view_tenant"
    OPERATE = "operate"
    APPROVE = "approve"
    MANAGE_ENVIRONMENTS = "manage_environments"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_TOKENS = "manage_tokens"
    VIEW_TRAIL = "view_trail"
    ADMINISTER = "administer"
