"""Forms of environments and credentials."""

from __future__ import annotations

from typing import Any

from django import forms

from tenants.models import SLUG

from .models import EnvironmentKind

INTERVALS = (
    (0, "Only when asked"),
    (900, "Every 15 minutes"),
    (3600, "Every hour"),
    (6 * 3600, "Every 6 hours"),
    (24 * 3600, "Once a day"),
)


class EnvironmentForm(forms.Form):
    """An environment. The key is never shown again; an empty field keeps the stored one."""

    name = forms.CharField(max_length=120, help_text="As people call it, for example Production EU.")
    slug = forms.CharField(
        max_length=48,
        required=False,
        label="Short name",
        validators=[SLUG],
        help_text="For addresses and Git branches: small letters, digits, dashes. It stays for ever.",
    )
    kind = forms.ChoiceField(
        choices=EnvironmentKind.choices, help_text="Production is drawn differently wherever one acts on it."
    )
    position = forms.IntegerField(
        min_value=0,
        max_value=99,
        required=False,
        label="Place in the pipeline",
        help_text="0 comes first. Empty: behind the last one.",
    )
    base_url = forms.CharField(
        max_length=500,
        label="Address of n8n",
        widget=forms.URLInput(attrs={"placeholder": "https://n8n.example.org", "spellcheck": "false"}),
        help_text="Where the editor opens, without a path such as /api/v1.",
    )
    api_key = forms.CharField(
        max_length=4096,
        required=False,
        label="API key",
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}, render_value=False),
        help_text="From n8n, Settings, n8n API. Stored encrypted and never shown again.",
    )
    capture_every = forms.TypedChoiceField(
        choices=INTERVALS,
        coerce=int,
        required=False,
        empty_value=0,  # type: ignore[arg-type]
        label="Capture",
        initial=3600,
    )

    def __init__(self, *args: Any, editing: bool = False, has_key: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if editing:
            del self.fields["slug"]
        if has_key:
            self.fields["api_key"].help_text = "A key is stored. Leave this empty to keep it."

    def take_in(self, details: dict[str, Any], otherwise: str) -> None:
        """Show a service's refusal beside the fields it names."""
        shown = False
        for name, message in details.items():
            if name in self.fields:
                self.add_error(name, message if isinstance(message, list) else [str(message)])
                shown = True
        if not shown:
            self.add_error(None, otherwise)


class CredentialForm(forms.Form):
    """A credential that nothing uses yet."""

    credential_type = forms.CharField(
        max_length=120, label="Type", help_text="As n8n names it: slackApi, httpBasicAuth."
    )
    name = forms.CharField(max_length=200, required=False)
    credential_id = forms.CharField(
        max_length=64, label="Id", help_text="The last part of the address when the credential is open in n8n."
    )
