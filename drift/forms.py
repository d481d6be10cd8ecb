"""Forms of the drift pages."""

from __future__ import annotations

from typing import Any

from django import forms

from .models import DriftPolicy
from .policies import LONGEST_HOURS, TTL_FIELDS
from .severity import LEVELS


class PolicyForm(forms.Form):
    """A tenant's rules about drift."""

    block_on_active_drift = forms.BooleanField(
        required=False,
        label="Standing drift blocks promotions of the workflows concerned",
        help_text="Nothing is promoted over an edit that nobody has looked at.",
    )
    enforce_ttl = forms.BooleanField(
        required=False,
        label="Overdue drift blocks every promotion into its environment",
        help_text="Switch this off for a while if an overdue incident cannot be settled (DRIFT_004).",
    )
    ttl_hours_critical = forms.IntegerField(min_value=1, max_value=LONGEST_HOURS, label="Critical, settled within")
    ttl_hours_high = forms.IntegerField(min_value=1, max_value=LONGEST_HOURS, label="High, settled within")
    ttl_hours_medium = forms.IntegerField(min_value=1, max_value=LONGEST_HOURS, label="Medium, settled within")
    ttl_hours_low = forms.IntegerField(min_value=1, max_value=LONGEST_HOURS, label="Low, settled within")

    @classmethod
    def of(cls, policy: DriftPolicy) -> PolicyForm:
        names = ("block_on_active_drift", "enforce_ttl", *TTL_FIELDS.values())
        return cls(initial={name: getattr(policy, name) for name in names})

    def hours(self) -> dict[str, int]:
        return {level: self.cleaned_data[TTL_FIELDS[level]] for level in LEVELS}

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        values = [found.get(TTL_FIELDS[level]) for level in reversed(LEVELS)]
        known = [v for v in values if v is not None]
        if len(known) == len(LEVELS) and known != sorted(known):
            self.add_error("ttl_hours_critical", "Graver drift must not have more time than milder drift.")
        return found


class ScheduleForm(forms.Form):
    """How often a tenant's environments are checked."""

    is_running = forms.BooleanField(required=False, label="Check for drift by itself")
    every_minutes = forms.IntegerField(min_value=1, max_value=1440, label="Every", help_text="Each environment.")
