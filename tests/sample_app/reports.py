"""Which bottles there are, and who keeps them."""

from __future__ import annotations

from core.reports import AccessSource, Column, Report

BOTTLES = Report(
    name="bottles",
    position=300,
    title="Bottles in store",
    answers="Which bottles each tenant has.",
    has_period=False,
    columns=(Column("tenant", "Tenant"), Column("bottle", "Bottle")),
    sql="""
    SELECT t.slug AS tenant, b.name AS bottle
      FROM sample_bottles b JOIN tenants t ON t.id = b.tenant_id
     ORDER BY t.slug, b.name, b.id
""",
)

KEEPERS = AccessSource(
    position=30,
    sql="""
    SELECT 'keeper of a bottle', b.keeper_id, b.tenant_id, b.name::text, 'open it', NULL::timestamptz, NULL::uuid,
           NULL::text, NULL::timestamptz, NULL::timestamptz, b.id::text
      FROM sample_bottles b WHERE b.keeper_id IS NOT NULL
""",
)
