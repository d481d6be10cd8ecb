"""The SQL behind the trail: what is written down, by which functions, and what nobody may do to it."""

# ruff: noqa: S608 -- SQL put together from constants of this module

from __future__ import annotations

#: Values of these columns never reach the trail.
MASKED_COLUMNS = (
    "password",
    "api_key_encrypted",
    "git_remote_secret",
    "token_hash",
    "session_data",
    "session_key",
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
    "progress_since",
    "progress_from",
    "claimed_at",
    "next_run_at",
    "last_run_at",
    "last_checked_at",
    "last_detected_at",
    "last_seen_hash_at",
)

#: What an object is called, if it has one of these; the first that is there.
NAMING_COLUMNS = ("name", "title", "slug", "key", "email", "env_name", "role", "kind")

LARGEST_VALUE_CHARACTERS = 8192
APPLICATION_ROLE = "opsconsole_app"
OWNER_ROLE = "opsconsole_owner"

_MASKED = ", ".join(f"'{name}'" for name in MASKED_COLUMNS)
_SILENT = ", ".join(f"'{name}'" for name in SILENT_COLUMNS)
_NAMED = ", ".join(f"whole->>'{name}'" for name in NAMING_COLUMNS)
_UUID = "'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
#: No value of a smaller document can be longer than the limit, and most documents are smaller.
_LONG_BYTES = LARGEST_VALUE_CHARACTERS // 2

TIDY_SQL = f"""
CREATE OR REPLACE FUNCTION opsconsole_tidy(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $body$
    SELECT jsonb_object_agg(e.key, CASE
        WHEN e.key = ANY (ARRAY[{_MASKED}]) AND e.value <> 'null'
            THEN to_jsonb('masked:' || left(md5(e.value #>> '{{}}'), 8))
        WHEN pg_column_size(e.value) > {_LONG_BYTES} THEN (
            SELECT CASE WHEN length(said.it) > {LARGEST_VALUE_CHARACTERS}
                THEN jsonb_build_object('characters', length(said.it), 'md5', md5(said.it)) ELSE e.value END
            FROM (SELECT e.value::text AS it OFFSET 0) AS said)
        ELSE e.value END)
    FROM jsonb_each(document) AS e
$body$
"""

#: Which lineage of transaction numbers an entry belongs to: they start lower when a dump is restored elsewhere.
EPOCH_SQL = """
CREATE OR REPLACE FUNCTION opsconsole_trail_epoch() RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, public AS $body$
    SELECT greatest(
        1,
        (SELECT max(epoch) FROM audit_epoch),
        (SELECT s.epoch + (pg_current_xact_id() <= s.last_xid)::int FROM audit_seal s ORDER BY s.number DESC LIMIT 1))
$body$
"""

#: Rows of one statement see each other here, since a trigger for each row is volatile.
SEAL_FITS_SQL = """
CREATE FUNCTION opsconsole_seal_fits() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $body$
BEGIN
    IF NEW.number <> coalesce((SELECT max(number) FROM audit_seal), 0) + 1 OR NOT EXISTS (
        SELECT FROM audit_logentry
         WHERE epoch = NEW.epoch AND transaction_id = NEW.last_xid AND id = NEW.last_id) THEN
        RAISE EXCEPTION 'Seal % does not fit: it takes the next number and ends at an entry.', NEW.number
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$body$
"""
EPOCH_FOLLOWS_SQL = """
CREATE FUNCTION opsconsole_epoch_follows() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $body$
BEGIN
    IF NEW.epoch <> 1 + greatest(
        1, (SELECT max(epoch) FROM audit_epoch), (SELECT max(epoch) FROM audit_seal)) THEN
        RAISE EXCEPTION 'Epoch % does not follow the one before.', NEW.epoch USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$body$
"""

_COLUMNS = (
    "tenant_id, actor_id, acting_as_id, session_id, cid, operation_id, source, action, action_name,"
    " resource_type, resource_id, object_pk, object_repr, details, remote_addr, database_role, epoch, transaction_id,"
    " timestamp"
)
_WHO = (
    "nullif(current_setting('opsconsole.actor_id', true), '')::uuid,"
    " nullif(current_setting('opsconsole.acting_as_id', true), '')::uuid,"
    " nullif(current_setting('opsconsole.session_id', true), '')::uuid,"
    " coalesce(current_setting('opsconsole.request_id', true), ''),"
    " nullif(current_setting('opsconsole.operation_id', true), '')::uuid, door"
)


def _short(value: str) -> str:
    """SQL: masked and shortened where need be; the two tests are cheap, the tidying is not."""
    return (
        f"CASE WHEN {value} ?| ARRAY[{_MASKED}] OR pg_column_size({value}) > {_LONG_BYTES}"
        f" THEN opsconsole_tidy({value}) ELSE {value} END"
    )


def _entry(before: str, after: str, kind: str) -> str:
    """SQL: what an entry says of its row; ``kind`` is 0 (created), 1 (changed) or 2 (deleted)."""
    details = f"""CASE {kind}
            WHEN 0 THEN jsonb_build_object('new_value', {_short(after)})
            WHEN 2 THEN jsonb_build_object('previous_value', {_short(before)})
            ELSE jsonb_build_object('previous_value', {_short(before)}, 'new_value', {_short(after)}) END"""
    return f"""(whole->>tenant_column)::uuid, {_WHO}, {kind},
            CASE {kind} WHEN 0 THEN 'CREATE' WHEN 2 THEN 'DELETE' ELSE 'UPDATE' END, TG_TABLE_NAME,
            CASE WHEN whole->>key_column ~ {_UUID} THEN (whole->>key_column)::uuid END,
            coalesce(whole->>key_column, ''), coalesce(left(coalesce({_NAMED}), 200), ''), {details},
            nullif(current_setting('opsconsole.ip_address', true), '')::inet, session_user,
            lineage, pg_current_xact_id(), clock_timestamp()"""


def _difference(before: str, after: str) -> str:
    """SQL: the columns that differ, as they were and as they are."""
    return (
        f"SELECT jsonb_object_agg(c.key, {before}->c.key) AS before, jsonb_object_agg(c.key, c.value) AS after"
        f" FROM jsonb_each({after}) AS c WHERE {before}->c.key IS DISTINCT FROM c.value"
    )


def record_write_sql() -> str:
    """The statement trigger ``opsconsole_record_write(key column, tenant column, watched columns)``.

    SECURITY DEFINER, so that it can append on behalf of any role; its search path is fixed and it takes nothing from
    the caller but the rows and the announced context. The application must say through which door a write came; a
    person at ``psql`` announces nothing, whatever they set: the source is then sql, and the role's name is kept.

    Old and new rows are matched by key with a hash: transition tables have no index, and a nested loop over 20,000
    rows takes minutes. ``OFFSET 0`` lets each row become a document once, not once for each mention: a third of the
    time. A row whose key was changed is one taken away and one added. The update of one row, which is
    nearly every update, needs no join and is told apart before anything else is done.
    """

    def spoken(after: str) -> str:
        return f"{after} - ARRAY[{_SILENT}] <> '{{}}' AND (watched IS NULL OR {after} ?| watched)"

    return f"""
CREATE OR REPLACE FUNCTION opsconsole_record_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
SET enable_nestloop = off SET enable_mergejoin = off SET jit = off AS $body$
DECLARE
    key_column text := TG_ARGV[0];
    tenant_column text := TG_ARGV[1];
    watched text[] := CASE WHEN TG_NARGS > 2 THEN string_to_array(TG_ARGV[2], ',') END;
    door text := CASE WHEN session_user IN ('{APPLICATION_ROLE}', '{OWNER_ROLE}')
                      THEN coalesce(current_setting('opsconsole.source', true), '') ELSE '' END;
    lineage integer;
    many bigint;
    new_row jsonb;
    old_row jsonb;
    change record;
    written bigint;
BEGIN
    IF door = '' AND session_user <> '{APPLICATION_ROLE}' THEN
        door := 'sql';
        PERFORM set_config('opsconsole.actor_id', '', true), set_config('opsconsole.acting_as_id', '', true),
                set_config('opsconsole.session_id', '', true), set_config('opsconsole.operation_id', '', true),
                set_config('opsconsole.request_id', '', true), set_config('opsconsole.ip_address', '', true);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        SELECT count(*) INTO many FROM new_rows;
        IF many = 0 THEN
            RETURN NULL;
        ELSIF many = 1 THEN
            SELECT to_jsonb(r) INTO new_row FROM new_rows r;
            SELECT to_jsonb(r) INTO old_row FROM old_rows r;
            IF new_row->key_column = old_row->key_column THEN
                many := 0;
                SELECT d.before, d.after INTO change FROM ({_difference("old_row", "new_row")}) d;
                IF change.after IS NULL OR NOT ({spoken("change.after")}) THEN
                    RETURN NULL;
                END IF;
            END IF;
        END IF;
    END IF;
    lineage := opsconsole_trail_epoch();
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_logentry ({_COLUMNS})
        SELECT {_entry("NULL::jsonb", "whole", "0")}
          FROM (SELECT to_jsonb(r) AS whole FROM new_rows r OFFSET 0) AS come;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO audit_logentry ({_COLUMNS})
        SELECT {_entry("whole", "NULL::jsonb", "2")}
          FROM (SELECT to_jsonb(r) AS whole FROM old_rows r OFFSET 0) AS gone;
    ELSIF many = 0 THEN
        INSERT INTO audit_logentry ({_COLUMNS})
        SELECT {_entry("change.before", "change.after", "1")} FROM (SELECT new_row AS whole) AS changed;
    ELSE
        INSERT INTO audit_logentry ({_COLUMNS})
        WITH pairs AS MATERIALIZED (
            SELECT o.before, n.after FROM (SELECT to_jsonb(r) AS before FROM old_rows r OFFSET 0) o
              FULL JOIN (SELECT to_jsonb(r) AS after FROM new_rows r OFFSET 0) n
                ON o.before->>key_column = n.after->>key_column),
        writes AS (
            SELECT 1 AS kind, p.after AS whole, d.before, d.after
              FROM pairs p CROSS JOIN LATERAL ({_difference("p.before", "p.after")}) d
             WHERE p.before - ARRAY[{_SILENT}] <> p.after - ARRAY[{_SILENT}] AND {spoken("d.after")}
            UNION ALL SELECT 2, p.before, p.before, NULL FROM pairs p WHERE p.after IS NULL
            UNION ALL SELECT 0, p.after, NULL, p.after FROM pairs p WHERE p.before IS NULL)
        SELECT {_entry("w.before", "w.after", "w.kind")} FROM writes w;
    END IF;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written > 0 AND door = '' THEN
        RAISE EXCEPTION 'A write to % without context: nobody says who is acting.', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Open core.context.acting(source=...) around it; the console''s own work says system.';
    END IF;
    RETURN NULL;
END
$body$
"""


def record_events_sql() -> str:
    """``opsconsole_record_events(events)``: entries that are not a write of a row; how many were appended.

    ``events`` is a list of objects with ``tenant_id, actor_id, acting_as_id, session_id, request_id, operation_id,
    source, ip_address, action, resource_type, resource_id, name, details``. In a tenant's scope only its own. Of a
    person at ``psql`` only the role's name is believed.
    """
    return f"""
CREATE OR REPLACE FUNCTION opsconsole_record_events(events jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $body$
DECLARE
    written integer;
    lineage integer := opsconsole_trail_epoch();
    own text := coalesce(current_setting('opsconsole.tenant_id', true), '');
    is_ours boolean := session_user IN ('{APPLICATION_ROLE}', '{OWNER_ROLE}');
BEGIN
    IF session_user = '{APPLICATION_ROLE}' AND current_setting('role') <> 'opsconsole_platform' AND EXISTS (
        SELECT FROM jsonb_array_elements(events) AS e WHERE coalesce(e->>'tenant_id', '') <> own OR own = '') THEN
        RAISE EXCEPTION 'An event of another tenant than the scope''s.' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM jsonb_array_elements(events) AS e WHERE coalesce(e->>'source', '') = '') THEN
        RAISE EXCEPTION 'An event without context: nobody says who is acting.' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO audit_logentry ({_COLUMNS})
    SELECT e.tenant_id, CASE WHEN is_ours THEN e.actor_id END, CASE WHEN is_ours THEN e.acting_as_id END,
           CASE WHEN is_ours THEN e.session_id END, CASE WHEN is_ours THEN coalesce(e.request_id, '') ELSE '' END,
           CASE WHEN is_ours THEN e.operation_id END, CASE WHEN is_ours THEN e.source ELSE 'sql' END,
           3, e.action, e.resource_type, e.resource_id, coalesce(e.resource_id::text, ''),
           left(coalesce(e.name, ''), 200),
           CASE WHEN pg_column_size(e.details) > {_LONG_BYTES} THEN opsconsole_tidy(e.details)
                ELSE coalesce(e.details, '{{}}') END,
           CASE WHEN is_ours THEN nullif(e.ip_address, '')::inet END, session_user, lineage, pg_current_xact_id(),
           clock_timestamp()
      FROM jsonb_to_recordset(events) AS e(
           tenant_id uuid, actor_id uuid, acting_as_id uuid, session_id uuid, request_id text, operation_id uuid,
           source text, ip_address text, action text, resource_type text, resource_id uuid, name text, details jsonb);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$body$
"""


REFUSE_SQL = """
CREATE OR REPLACE FUNCTION opsconsole_refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'insufficient_privilege';
END
$body$
"""

APPEND_ONLY = "the trail is append-only; whole sealed months leave it by manage.py trail_retention"


def append_only(table: str) -> list[str]:
    """SQL: nobody changes, takes away or empties the rows of ``table``, its owner included."""
    return [
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION opsconsole_refuse('{APPEND_ONLY}')",
        f"CREATE TRIGGER never_emptied BEFORE TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION opsconsole_refuse('{APPEND_ONLY}')",
    ]


#: Months ahead get their partition in time; whatever falls outside all of them goes to the default one.
PARTITIONS_SQL = f"""
CREATE OR REPLACE FUNCTION opsconsole_trail_partitions(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $body$
DECLARE
    first_day date;
    part text;
    made integer := 0;
BEGIN
    FOR step IN 0..least(greatest(ahead, 0), 24) LOOP
        first_day := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => step))::date;
        part := 'audit_logentry_' || to_char(first_day, 'YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
        BEGIN
            EXECUTE format(
                'CREATE TABLE public.%I PARTITION OF public.audit_logentry FOR VALUES FROM (%L) TO (%L)', part,
                first_day::text || ' 00:00:00+00',
                (first_day + interval '1 month')::date::text || ' 00:00:00+00');
        EXCEPTION WHEN check_violation THEN
            -- Entries of that month stand in the default partition already: they stay there, and are found there.
            CONTINUE;
        END;
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
        EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON public.%I FOR EACH STATEMENT'
            ' EXECUTE FUNCTION opsconsole_refuse(%L)', part, '{APPEND_ONLY}');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$body$
"""
