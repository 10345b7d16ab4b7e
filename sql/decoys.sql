-- Operators that somebody has planted where the extension is created.  If this fails,
-- a view of ours calls one of them, as whoever looks at the view.
\set ECHO none
SET client_min_messages = warning;
CREATE SCHEMA regress_decoys;
SET search_path = regress_decoys;
DO $$
DECLARE
  types text[] := ARRAY['int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'text', 'varchar', 'name', '"char"', 'oid', 'regrole',
    'timestamptz', 'interval', 'bool', 'jsonb', 'bytea'];
  operators text[] := ARRAY['+', '-', '*', '/', '=', '<>', '<', '>', '<=', '>=', '||', '->', '->>', '~~'];
  l text;
  r text;
  o text;
BEGIN
  FOREACH l IN ARRAY types LOOP
    FOREACH r IN ARRAY types LOOP
      EXECUTE format('CREATE FUNCTION decoy(%s, %s) RETURNS bool LANGUAGE plpgsql AS ''BEGIN RAISE ''''decoy''''; END''', l, r);
      EXECUTE format('CREATE FUNCTION decoy_float8(%s, %s) RETURNS float8 LANGUAGE plpgsql AS ''BEGIN RAISE ''''decoy''''; END''', l, r);
      EXECUTE format('CREATE FUNCTION decoy_text(%s, %s) RETURNS text LANGUAGE plpgsql AS ''BEGIN RAISE ''''decoy''''; END''', l, r);
      FOREACH o IN ARRAY operators LOOP
        EXECUTE format('CREATE OPERATOR regress_decoys.%s (FUNCTION = %s, LEFTARG = %s, RIGHTARG = %s)', o,
          CASE WHEN o IN ('+', '-', '*', '/') THEN 'decoy_float8' WHEN o IN ('||', '->', '->>') THEN 'decoy_text' ELSE 'decoy' END, l, r);
      END LOOP;
    END LOOP;
  END LOOP;
END $$;
CREATE EXTENSION dtm SCHEMA regress_decoys;
SET search_path = pg_catalog;
\set ECHO all
SELECT DISTINCT pg_describe_object(d.refclassid, d.refobjid, 0) AS decoy, pg_describe_object(d.classid, d.objid, 0) AS "user"
  FROM pg_depend d
 WHERE (d.refclassid = 'pg_operator'::regclass AND (SELECT o.oprnamespace FROM pg_operator o WHERE o.oid = d.refobjid) = 'regress_decoys'::regnamespace OR
        d.refclassid = 'pg_proc'::regclass AND (SELECT p.proname FROM pg_proc p WHERE p.oid = d.refobjid) LIKE 'decoy%')
   AND d.classid NOT IN ('pg_operator'::regclass, 'pg_extension'::regclass)
 ORDER BY 1, 2;
\set ECHO none
DROP EXTENSION dtm;
DROP SCHEMA regress_decoys CASCADE;
RESET search_path;
RESET client_min_messages;
