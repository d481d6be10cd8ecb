"""Bottles, each of one tenant."""

from django.db import models

from tenants.base import TenantModel


class Bottle(TenantModel):
    name = models.CharField(max_length=80)
    keeper = models.ForeignKey("tenants.User", on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        db_table = "sample_bottles"

    def __str__(self) -> str:
        return self.name


class Sip(TenantModel):
    """A note of the console's own: neither watched by the trail nor reverted."""

    class Meta:
        db_table = "sample_sips"
