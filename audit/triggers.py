"""The database function behind the trail."""

from __future__ import annotations

#: Values of these columns never reach the trail.
MASKED_COLUMNS = (
    "password",
    "api_key_encrypted",
    "git_remote_secret",
    "token_hash",
    "session_data",
)

#: A write that changes nothing but these leaves no row.
SILENT_COLUMNS = (
    "updated_at",
    "last_used_at",
    "last_seen_at",
    "last_login",
    "heartbeat_at",
    "lease_expires_at",
    "progress_done",
    "progress_total",
    "progress_note",
    "claimed_at",
    "next_run_at",
    "last_run_at",
    "last_checked_at",
    "last_detected_at",
    "last_seen_hash_at",
)

LARGEST_VALUE_CHARACTERS = 8192


def record_write_sql() -> str:
    """The trigger function ``opsconsole_record_write``.

    SECURITY DEFINER, so that it can append on behalf of any role; its search path is fixed and it takes nothing from
    the caller but the row and the announced context. A person at ``psql`` announces nothing: the source is then sql,
    and the role's name is kept.
    """
    masked = ", ".join(f"'{name}'" for name in MASKED_COLUMNS)
    silent = ", ".join(f"'{name}'" for name in SILENT_COLUMNS)

    def short(value: str) -> str:
        """SQL: a large value is named by size and digest; whole documents stand in Git, not in the trail."""
        return (
            f"CASE WHEN length({value}::text) > {LARGEST_VALUE_CHARACTERS} THEN jsonb_build_object("
            f"'characters', length({value}::text), 'md5', md5({value}::text)) ELSE {value} END"
        )

    return f"""
CREATE OR REPLACE FUNCTION opsconsole_record_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $body$
DECLARE
    before_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    after_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
    whole jsonb := coalesce(after_row, before_row);
    column_name text;
    said jsonb := '{{}}'::jsonb;
    row_id text := coalesce(whole->>'id', whole->>'user_id');
    row_tenant text := CASE WHEN TG_TABLE_NAME = 'tenants' THEN whole->>'id'
                            ELSE coalesce(whole->>'tenant_id', whole->>'content_object_id') END;
BEGIN
    FOREACH column_name IN ARRAY ARRAY[{masked}] LOOP
        IF before_row ? column_name AND before_row->>column_name IS NOT NULL THEN
            before_row := jsonb_set(before_row, ARRAY[column_name],
                                    to_jsonb('masked:' || left(md5(before_row->>column_name), 8)));
        END IF;
        IF after_row ? column_name AND after_row->>column_name IS NOT NULL THEN
            after_row := jsonb_set(after_row, ARRAY[column_name],
                                   to_jsonb('masked:' || left(md5(after_row->>column_name), 8)));
        END IF;
    END LOOP;
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(jsonb_object_agg(b.key, b.value), '{{}}'::jsonb) INTO before_row
          FROM jsonb_each(before_row) b WHERE after_row->b.key IS DISTINCT FROM b.value;
        SELECT coalesce(jsonb_object_agg(a.key, a.value), '{{}}'::jsonb) INTO after_row
          FROM jsonb_each(after_row) a WHERE before_row ? a.key;
        IF (after_row - ARRAY[{silent}]) = '{{}}'::jsonb THEN
            RETURN NULL;
        END IF;
    END IF;
    SELECT jsonb_object_agg(b.key, {short("b.value")}) INTO before_row FROM jsonb_each(before_row) b;
    SELECT jsonb_object_agg(a.key, {short("a.value")}) INTO after_row FROM jsonb_each(after_row) a;
    said := jsonb_strip_nulls(jsonb_build_object('previous_value', before_row, 'new_value', after_row));
    IF coalesce(current_setting('opsconsole.source', true), '') = '' THEN
        said := said || jsonb_build_object('database_role', session_user);
    END IF;
    INSERT INTO public.audit_logs (tenant_id, actor_user_id, impersonated_user_id, session_id, request_id,
                                   operation_id, source, action, resource_type, resource_id, details, ip_address,
                                   transaction_id, created_at)
    VALUES (
        CASE WHEN row_tenant ~ '^[0-9a-f-]{{36}}$' THEN row_tenant::uuid END,
        nullif(current_setting('opsconsole.actor_id', true), '')::uuid,
        nullif(current_setting('opsconsole.acting_as_id', true), '')::uuid,
        nullif(current_setting('opsconsole.session_id', true), '')::uuid,
        coalesce(current_setting('opsconsole.request_id', true), ''),
        nullif(current_setting('opsconsole.operation_id', true), '')::uuid,
        coalesce(nullif(current_setting('opsconsole.source', true), ''), 'sql'),
        CASE TG_OP WHEN 'INSERT' THEN 'CREATE' ELSE TG_OP END,
        TG_TABLE_NAME,
        CASE WHEN row_id ~ '^[0-9a-f-]{{36}}$' THEN row_id::uuid END,
        said,
        nullif(current_setting('opsconsole.ip_address', true), '')::inet,
        txid_current(),
        clock_timestamp());
    RETURN NULL;
END
$body$
"""  # noqa: S608 - constants of this module
