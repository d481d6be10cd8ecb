"""Forms of the tenants' and people's pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import TOTP
from django import forms
from django.core.validators import RegexValidator

from .models import SLUG, Grants, PlatformRole, TenantRole

EXPIRIES = ((30, "30 days"), (90, "90 days"), (365, "1 year"), (0, "Never"))
TOKEN_GRANTS = (
    (Grants.OPERATE, "Operate"),
    (Grants.APPROVE, "Approve"),
    (Grants.MANAGE_ENVIRONMENTS, "Manage environments"),
    (Grants.MANAGE_MEMBERS, "Manage members"),
    (Grants.MANAGE_TOKENS, "Manage tokens"),
    (Grants.VIEW_TRAIL, "Read the trail"),
    (Grants.ADMINISTER, "Change settings"),
)
SERVICE_ROLES = [(value, label) for value, label in TenantRole.choices if value != TenantRole.OWNER]
GIT_SCHEMES = frozenset({"https", "ssh"})


class TenantForm(forms.Form):
    name = forms.CharField(max_length=120, help_text="What people call this customer or team.")
    slug = forms.CharField(
        max_length=48,
        required=False,
        validators=[SLUG],
        label="Short name",
        help_text="Stands in addresses and never changes. Left empty, it follows from the name.",
    )
    owner = forms.EmailField(label="First owner", help_text="E-mail address. Created if nobody here has it.")


class MemberForm(forms.Form):
    email = forms.EmailField(
        label="E-mail address", help_text="It gets a link by which to accept or decline, good for a week."
    )
    name = forms.CharField(max_length=120, required=False)
    role = forms.ChoiceField(choices=TenantRole.choices, initial=TenantRole.VIEWER)


class PersonForm(forms.Form):
    email = forms.EmailField(label="E-mail address")
    name = forms.CharField(max_length=120, required=False)
    role = forms.ChoiceField(
        choices=PlatformRole.choices,
        initial=PlatformRole.MEMBER,
        label="Role on the platform",
        help_text="Members see the tenants they belong to. Roles inside a tenant are given on its Members page.",
    )


class TokenForm(forms.Form):
    """``holders`` are (user id, label) of those for whom the visitor may make a token."""

    name = forms.CharField(max_length=120, help_text="What uses it, so that it can be told apart later.")
    holder = forms.ChoiceField(label="Acts as", help_text="A token can do at most what this account may do.")
    expires = forms.TypedChoiceField(choices=EXPIRIES, coerce=int, initial=90, label="Expires after")
    permissions = forms.MultipleChoiceField(
        required=False,
        choices=TOKEN_GRANTS,
        widget=forms.CheckboxSelectMultiple,
        label="Narrowed to",
        help_text="None ticked: everything the account may do. Looking is always included.",
    )

    def __init__(self, *args: Any, holders: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["holder"].choices = holders  # type: ignore[attr-defined]


class ServiceAccountForm(forms.Form):
    service_name = forms.CharField(max_length=60, label="Name", help_text="For example: deploy pipeline.")
    role = forms.ChoiceField(choices=SERVICE_ROLES, initial=TenantRole.VIEWER)


class SecretArea(forms.Textarea):
    """Room for a key of several lines; what was typed never comes back in a page."""

    def format_value(self, value: Any) -> str:
        return ""


class SettingsForm(forms.Form):
    name = forms.CharField(max_length=120)
    git_remote_url = forms.CharField(
        max_length=500,
        required=False,
        label="Git remote",
        help_text="A second home for this tenant's history: https:// or ssh:// address of an empty repository.",
    )
    git_remote_username = forms.CharField(
        max_length=100,
        required=False,
        label="User name at the remote",
        validators=[RegexValidator(r"^[^\s:]+$", "A user name has no spaces and no colon.")],
        help_text="Only for https://, and only where the host asks for a certain one beside the token.",
    )
    git_remote_secret = forms.CharField(
        max_length=8000,
        required=False,
        label="Token or private key for the remote",
        widget=SecretArea(attrs={"autocomplete": "off", "rows": 3, "spellcheck": "false"}),
        help_text="https:// takes a token, ssh:// a private key without a passphrase. Kept encrypted and never shown"
        " again. Left empty, the present one stays.",
    )
    git_remote_known_hosts = forms.CharField(
        max_length=8000,
        required=False,
        label="Host key of the remote",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="For ssh://: what “ssh-keyscan HOST” prints, once you have compared it with what the host publishes."
        " A host with another key is not spoken to.",
    )
    forget_secret = forms.BooleanField(required=False, label="Forget the stored secret")

    def clean_git_remote_url(self) -> str:
        url = str(self.cleaned_data["git_remote_url"]).strip()
        if not url:
            return ""
        try:
            parts = urlsplit(url)
            named = bool(parts.hostname) and parts.port != 0 and parts.scheme in GIT_SCHEMES
        except ValueError:
            named = False
        if not named:
            raise forms.ValidationError("Give an address that begins with https:// or ssh://.")
        if parts.password or (parts.username and parts.scheme == "https"):
            # A token often stands where the user's name would.
            raise forms.ValidationError(
                "Put user name and token into their own fields: addresses are shown to everybody here."
            )
        return url

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        ssh = str(given.get("git_remote_url", "")).startswith("ssh://")
        if ssh and not given.get("git_remote_known_hosts"):
            self.add_error("git_remote_known_hosts", "Without its host key, a remote by ssh:// is not spoken to.")
        secret = str(given.get("git_remote_secret") or "")
        if secret and given.get("git_remote_url") and ssh != ("PRIVATE KEY-----" in secret):
            wanted = "a private key, from -----BEGIN to the end of its last line" if ssh else "a token, not a key"
            self.add_error("git_remote_secret", f"This address takes {wanted}.")
        return given


class ActivateApp(ActivateTOTPForm):
    """Setting an authenticator app up uses its code like every other: it opens nothing a second time."""

    def clean_code(self) -> str:
        code = str(super().clean_code())
        if not TOTP(Authenticator(user=self.user))._mark_code_used(code):
            raise get_adapter().validation_error("incorrect_code")
        return code
