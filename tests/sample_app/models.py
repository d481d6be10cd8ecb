"""Bottles, each of one tenant."""

from django.db import models

from tenants.base import TenantModel


class Bottle(TenantModel):
    name = models.CharField(max_length=80)

    class Meta:
        db_table = "sample_bottles"

    def __str__(self) -> str:
        return self.name
