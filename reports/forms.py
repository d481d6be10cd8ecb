"""Forms of the pages of reports."""

from __future__ import annotations

from typing import Any

from django import forms

from core.reports import Report

from .models import Format, Frequency, Period


def _day(label: str, help_text: str) -> forms.DateField:
    return forms.DateField(
        required=False, label=label, help_text=help_text, widget=forms.DateInput(attrs={"type": "date"})
    )


class AskForm(forms.Form):
    """The parameters of one report; only what it takes. ``tenants`` (short name, name) on the platform's page."""

    period = forms.ChoiceField(
        required=False, choices=Period.choices, initial=Period.DAYS_90, help_text="Whole days, weeks and months in UTC."
    )
    since = _day("From", "A day (UTC). Wins over the period.")
    until = _day("To", "This day included.")
    tenant = forms.ChoiceField(required=False)
    person = forms.EmailField(required=False, help_text="E-mail address of somebody who acted, or whom it concerns.")
    format = forms.ChoiceField(
        required=False,
        choices=Format.choices,
        initial=Format.CSV,
        widget=forms.Select(attrs={"aria-label": "Format"}),
    )

    def __init__(self, *args: Any, report: Report, tenants: list[tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not report.has_period:
            for name in ("period", "since", "until"):
                del self.fields[name]
        if tenants is None:
            del self.fields["tenant"]
        else:
            self.fields["tenant"].choices = [("", "Every tenant"), *tenants]  # type: ignore[attr-defined]

    def parameters(self) -> dict[str, str]:
        """What ``definitions.settle`` takes."""
        given = self.cleaned_data
        texts = {name: given.get(name) or "" for name in ("period", "tenant", "person")}
        days = {name: given[name].isoformat() if given.get(name) else "" for name in ("since", "until")}
        return texts | days


class ScheduleForm(forms.Form):
    """A scheduled report."""

    frequency = forms.ChoiceField(choices=Frequency.choices, initial=Frequency.MONTHLY, label="How often")
    hour = forms.IntegerField(min_value=0, max_value=23, initial=6, label="At", help_text="Hour of the day, UTC.")
    period = forms.ChoiceField(choices=Period.choices, initial=Period.MONTH, label="Period")
    tenant = forms.ChoiceField(required=False)
    person = forms.EmailField(required=False)
    format = forms.ChoiceField(choices=Format.choices, initial=Format.XLSX)
    recipients = forms.CharField(
        label="Recipients",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="E-mail addresses of people who may read this report here, one per line. Checked before every mail.",
    )

    def __init__(self, *args: Any, report: Report, tenants: list[tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "id_schedule_%s", **kwargs})
        if not report.has_period:
            del self.fields["period"]
        if tenants is None:
            del self.fields["tenant"]
        else:
            self.fields["tenant"].choices = [("", "Every tenant"), *tenants]  # type: ignore[attr-defined]

    def clean_recipients(self) -> list[str]:
        found: list[str] = self.cleaned_data["recipients"].replace(",", "\n").split()
        return found
