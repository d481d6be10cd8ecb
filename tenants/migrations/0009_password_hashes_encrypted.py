"""Hashes of passwords are encrypted, and so longer."""

from django.db import migrations, models

#: PostgreSQL changes no column that a trigger looks at: such triggers are taken off meanwhile, whoever made them.
WIDEN = """
DO $body$
DECLARE
    held record;
    definitions text[] := '{{}}';
    definition text;
BEGIN
    FOR held IN SELECT tgname, pg_get_triggerdef(oid) AS told FROM pg_trigger
                 WHERE tgrelid = 'public.users'::regclass AND NOT tgisinternal AND (tgqual IS NOT NULL OR tgattr <> '')
    LOOP
        definitions := definitions || held.told;
        EXECUTE format('DROP TRIGGER %I ON public.users', held.tgname);
    END LOOP;
    ALTER TABLE public.users ALTER COLUMN password TYPE varchar({length});
    FOREACH definition IN ARRAY definitions LOOP
        EXECUTE definition;
    END LOOP;
END
$body$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_invitations"),
    ]

    operations = [
        migrations.RunSQL(
            WIDEN.format(length=512),
            WIDEN.format(length=128),
            state_operations=[
                migrations.AlterField(
                    model_name="user",
                    name="password",
                    field=models.CharField(help_text="Its hash, encrypted.", max_length=512),
                )
            ],
        ),
    ]
