/*
 * participant.sql
 *		The barrier for participants in a database where no extension in C can be
 *		installed: dtm_barrier() and dtm_query_prepared() in PL/pgSQL, with the
 *		same answers as the extension's.
 *
 *		psql -X -v ON_ERROR_STOP=1 -1 -f participant.sql DATABASE
 *
 * Run it as the role that is to own the barrier's table, in any database of
 * PostgreSQL 11 or later.  Run it again to bring the functions up to date; the
 * table and its rows stay.  Then grant EXECUTE on both functions to the roles of
 * the participants; they need no privileges on the table.  The rules are those of docs/spec/dtm-wire.md §8.
 */
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'dtm') THEN
    RAISE EXCEPTION 'extension "dtm" is installed in this database'
      USING ERRCODE = 'duplicate_object', HINT = 'Use the functions of the extension.';
  END IF;
END $$;

/* ---------- the table: name, columns and constraint as dtm's SDKs expect ---------- */

CREATE SCHEMA IF NOT EXISTS dtm_barrier;
CREATE SEQUENCE IF NOT EXISTS dtm_barrier.barrier_seq;

CREATE TABLE IF NOT EXISTS dtm_barrier.barrier (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('dtm_barrier.barrier_seq') PRIMARY KEY,
  trans_type varchar(45) DEFAULT '',
  gid varchar(128) DEFAULT '',
  branch_id varchar(128) DEFAULT '',
  op varchar(45) DEFAULT '',
  barrier_id varchar(45) DEFAULT '',
  reason varchar(45) DEFAULT '',
  create_time timestamp(0) with time zone DEFAULT NULL,
  update_time timestamp(0) with time zone DEFAULT NULL,
  CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id)
);
COMMENT ON TABLE dtm_barrier.barrier IS 'branch operations that have been executed or are rejected';

/* ---------- helpers, for the functions below only ---------- */

CREATE OR REPLACE FUNCTION dtm_barrier.check_argument(name text, value text, max_chars int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  advice text := 'Pass trans_type, gid, branch_id and op from the URL of the branch''s request.';
BEGIN
  IF value IS NULL THEN
    RAISE EXCEPTION 'argument "%" must not be null', name
      USING ERRCODE = 'null_value_not_allowed', HINT = advice;
  ELSIF value = '' THEN
    RAISE EXCEPTION 'argument "%" must not be empty', name
      USING ERRCODE = 'invalid_parameter_value', HINT = advice;
  ELSIF length(value) > max_chars THEN
    RAISE EXCEPTION 'argument "%" is longer than % characters', name, max_chars
      USING ERRCODE = 'invalid_parameter_value', HINT = advice;
  END IF;
END $$;

/*
 * The number of this barrier among those of one branch operation in this
 * transaction, from 1.  They are counted in settings of the transaction, so that
 * what is rolled back to a savepoint was not counted: for each operation 30 digits
 * of a hash, a colon, two digits, and a space.  The hash's first two digits name
 * the setting, so that none gets long where a transaction has many operations.
 */
CREATE OR REPLACE FUNCTION dtm_barrier.next_number(gid text, branch_id text, op text) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text := concat_ws(E'\n', length(gid), length(branch_id), gid || branch_id || op);
  hash text := encode(sha256(convert_to(name, getdatabaseencoding())), 'hex');
  setting text := 'dtm_barrier.counts_' || substr(hash, 1, 2);
  key text := substr(hash, 3, 30) || ':';
  counts text := coalesce(current_setting(setting, true), '');
  place int := strpos(counts, key);
  number int := 1;
BEGIN
  IF place = 0 THEN
    counts := counts || key || '01 ';
  ELSE
    place := place + length(key);
    number := substr(counts, place, 2)::int + 1;
    IF number > 99 THEN
      RAISE EXCEPTION 'transaction has more than 99 barriers for one branch operation'
        USING ERRCODE = 'program_limit_exceeded', HINT = 'Pass a barrier_id of your own.';
    END IF;
    counts := overlay(counts PLACING lpad(number::text, 2, '0') FROM place);
  END IF;
  PERFORM set_config(setting, counts, true);
  RETURN number;
END $$;

/*
 * Inserts a row if it is absent; true if it was.  Waits for an open transaction
 * that inserts the same row; the algorithm needs this wait.
 */
CREATE OR REPLACE FUNCTION dtm_barrier.insert_row(trans_type text, gid text, branch_id text, op text, barrier_id text, reason text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time, update_time)
    VALUES ($1, $2, $3, $4, $5, $6, now(), now())
    ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING;
  RETURN FOUND;
END $$;

REVOKE ALL ON FUNCTION dtm_barrier.check_argument(text, text, int), dtm_barrier.next_number(text, text, text),
  dtm_barrier.insert_row(text, text, text, text, text, text) FROM PUBLIC;

/* ---------- what participants call ---------- */

/*
 * True: make the changes of this branch operation; false: skip them and return
 * success.  Call it in the transaction that makes the changes, first.
 */
CREATE OR REPLACE FUNCTION dtm_barrier(trans_type text, gid text, branch_id text, op text, barrier_id text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  number text := barrier_id;
  origin text := CASE op WHEN 'cancel' THEN 'try' WHEN 'compensate' THEN 'action' WHEN 'rollback' THEN 'action' END;
  origin_inserted boolean := false;
  inserted boolean;
BEGIN
  PERFORM dtm_barrier.check_argument('trans_type', trans_type, 45);
  PERFORM dtm_barrier.check_argument('gid', gid, 128);
  PERFORM dtm_barrier.check_argument('branch_id', branch_id, 128);
  PERFORM dtm_barrier.check_argument('op', op, 45);
  IF number IS NULL THEN
    number := lpad(dtm_barrier.next_number(gid, branch_id, op)::text, 2, '0');
  ELSE
    PERFORM dtm_barrier.check_argument('barrier_id', number, 45);
  END IF;
  -- origin first, so that two undoing operations never wait for each other
  IF origin IS NOT NULL THEN
    origin_inserted := dtm_barrier.insert_row(trans_type, gid, branch_id, origin, number, op);
  END IF;
  inserted := dtm_barrier.insert_row(trans_type, gid, branch_id, op, number, op);
  IF op = 'msg' AND NOT inserted THEN
    RAISE EXCEPTION 'DUPLICATED: barrier of msg "%" already exists', gid
      USING ERRCODE = 'DT005',
            HINT = 'Roll back. The local transaction has already been done, or its query-back has reported that it will never be done.';
  END IF;
  RETURN inserted AND NOT origin_inserted;
END $$;
COMMENT ON FUNCTION dtm_barrier(text, text, text, text, text) IS
  'true: make the changes of this branch operation; false: skip them and return success';

/*
 * Has the local transaction of a message committed?  If it has not, this keeps it
 * from committing later.  Waits for one that is still open.
 */
CREATE OR REPLACE FUNCTION dtm_query_prepared(gid text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM dtm_barrier.check_argument('gid', gid, 128);
  PERFORM dtm_barrier.insert_row('msg', gid, '00', 'msg', '01', 'rollback');
  RETURN coalesce((SELECT b.reason <> 'rollback' FROM dtm_barrier.barrier b
                    WHERE b.gid = $1 AND b.branch_id = '00' AND b.op = 'msg' AND b.barrier_id = '01'), false);
END $$;
COMMENT ON FUNCTION dtm_query_prepared(text) IS
  'returns whether the local transaction of a msg has committed; if it did not, prevents it from committing later';

REVOKE ALL ON FUNCTION dtm_barrier(text, text, text, text, text), dtm_query_prepared(text) FROM PUBLIC;
