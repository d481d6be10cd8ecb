"""Forms of the support pages."""

from __future__ import annotations

from typing import Any

from django import forms

from tenants.models import User

from .models import LONGEST_IDLE_MINUTES, LONGEST_MINUTES, Access, WriteConsent


class StartForm(forms.Form):
    """``people`` are those of the chosen tenant."""

    person = forms.ChoiceField(label="As whom", help_text="You see what this person sees, and nothing more.")
    reason = forms.CharField(
        min_length=10,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="The customer reads it. At least 10 characters.",
    )
    ticket = forms.CharField(max_length=80, required=False, help_text="The case number, if there is one.")
    break_glass = forms.BooleanField(
        required=False,
        label="Emergency: start without waiting for approval",
        help_text="The customer's owners and the platform's admins are notified at once.",
    )

    def __init__(self, *args: Any, people: list[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["person"].choices = [(str(p.pk), f"{p.name} <{p.email}>" if p.name else p.email) for p in people]  # type: ignore[attr-defined]


class PolicyForm(forms.Form):
    access = forms.ChoiceField(
        choices=Access.choices, label="Support sessions", widget=forms.RadioSelect,
        help_text="In a session, support sees this tenant as one of its people.",
    )  # fmt: skip
    write_consent = forms.ChoiceField(
        choices=WriteConsent.choices, label="Who approves write mode", widget=forms.RadioSelect
    )
    longest_minutes = forms.IntegerField(
        min_value=5, max_value=LONGEST_MINUTES, label="Longest session", help_text="5 to 60 minutes."
    )
    idle_minutes = forms.IntegerField(
        min_value=1, max_value=LONGEST_IDLE_MINUTES, label="Idle limit", help_text="1 to 15 minutes."
    )


class EmergencyForm(forms.Form):
    """``acts`` are those that the person may choose from; ``slug`` must be typed to confirm."""

    what = forms.ChoiceField(label="What to do", widget=forms.RadioSelect)
    reason = forms.CharField(
        label="Reason", min_length=10, max_length=300, help_text="At least 10 characters. Kept in the audit trail."
    )
    typed = forms.CharField(max_length=80, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))

    def __init__(self, *args: Any, acts: tuple[str, ...], slug: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.acts, self.slug = acts, slug
        self.fields["what"].choices = [(act, act) for act in acts]  # type: ignore[attr-defined]
        self.fields["typed"].label = f"Type “{slug}” to confirm"

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"]).strip()
        if typed != self.slug:
            raise forms.ValidationError(f"Type the tenant's short name exactly: “{self.slug}”.")
        return typed
