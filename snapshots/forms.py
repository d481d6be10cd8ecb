"""Forms of snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from workflows.models import Environment

from .models import SnapshotType

#: The other types are made by the console itself.
BY_HAND = (SnapshotType.MANUAL_BACKUP, SnapshotType.BASELINE)


class CaptureForm(forms.Form):
    """A snapshot to be taken."""

    environment = forms.ChoiceField(help_text="Read through n8n's API; nothing is changed there.")
    snapshot_type = forms.ChoiceField(
        label="Type",
        choices=[(t.value, t.label) for t in BY_HAND],
        initial=SnapshotType.MANUAL_BACKUP,
        help_text="A baseline becomes the approved version: what drifts now is approved, and its incidents end.",
    )
    description = forms.CharField(
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Why it is taken; shown in the list and in Git.",
    )

    def __init__(self, *args: Any, environments: Sequence[Environment], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: forms.ChoiceField = self.fields["environment"]  # type: ignore[assignment]
        choice.choices = [(str(e.pk), e.name) for e in environments]


class RestoreForm(forms.Form):
    """How a restore is done."""

    overwrite_existing = forms.BooleanField(
        required=False,
        initial=True,
        label="Overwrite workflows that differ",
        help_text="Without this, only missing workflows are created.",
    )
    approve = forms.BooleanField(
        required=False,
        initial=True,
        label="Take what is restored as approved",
        help_text="Without this, whatever differs from the approved version is reported as drift.",
    )
    reason = forms.CharField(
        required=False,
        max_length=500,
        help_text="Why it is restored; kept in Git with what becomes approved.",
    )
    delete_extra = forms.BooleanField(
        required=False,
        label="Delete workflows that the snapshot does not hold",
        help_text="They are in the snapshot taken before, but get new ids when they are brought back.",
    )
    stubs = forms.BooleanField(
        required=False,
        label="Create missing credentials without their secrets",
        help_text="Workflows that need them stay unpublished until you have entered the secrets in n8n.",
    )
    repair = forms.BooleanField(
        required=False,
        label="Mend what n8n refuses",
        help_text="Connections to missing nodes go; a form or chat without an id gets one. What runs stays the same.",
    )
    leave_out = forms.BooleanField(
        required=False,
        label="Leave out what cannot be restored",
        help_text="The rest is restored; what is left out is named. What n8n refuses to publish stays unpublished.",
    )
    skip_validation = forms.BooleanField(
        required=False,
        label="Restore in spite of the problems listed",
        help_text="Workflows may call something that is not there.",
    )
