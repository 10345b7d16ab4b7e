-- Barriers in a table of the user's, found by a key of the business: each operation takes effect once for each key.
SET client_min_messages = error;
\set VERBOSITY terse
CREATE TABLE item (item bigint PRIMARY KEY, stock int NOT NULL);
CREATE TABLE item_barrier (
  item bigint NOT NULL,
  gid text NOT NULL, branch_id text NOT NULL, op text NOT NULL, barrier_id text NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (item, gid, branch_id, op, barrier_id)
);
INSERT INTO item VALUES (1, 100), (2, 100);

-- an action, its repeat, and the same for another key
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'g', '01', 'action') AS action, dtm_barrier_in('item_barrier', 2, 'saga', 'g', '01', 'action') AS other_key;
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'g', '01', 'action') AS repeat, dtm_barrier_in('item_barrier', 2::bigint, 'saga', 'g', '01', 'action') AS repeat_of_other;
-- undone once; what never was is not undone, and comes too late then
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'g', '01', 'compensate') AS undone;
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'g', '01', 'compensate') AS repeat;
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'h', '01', 'compensate') AS nothing_to_undo;
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'h', '01', 'action') AS too_late;
-- two barriers of one operation and one key in a transaction are numbered, each key by itself
BEGIN;
SELECT dtm_barrier_in('item_barrier', 1, 'saga', 'n', '01', 'action'), dtm_barrier_in('item_barrier', 1, 'saga', 'n', '01', 'action'), dtm_barrier_in('item_barrier', 2, 'saga', 'n', '01', 'action');
ROLLBACK;
SELECT dtm_barrier_in('item_barrier', 2, 'saga', 'n', '01', 'action', 'mine') AS named, dtm_barrier_in('item_barrier', 2, 'saga', 'n', '01', 'action', 'mine') AS named_repeat;
SELECT item, gid, branch_id, op, barrier_id, reason FROM item_barrier ORDER BY 1, 2, 3, 4, 5;
SELECT count(*) AS in_the_extensions_table FROM dtm_barrier.barrier WHERE gid IN ('g', 'h', 'n');

-- the query-back of a message
SELECT dtm_barrier_in('item_barrier', 1, 'msg', 'm1', '00', 'msg');
SELECT dtm_query_prepared_in('item_barrier', 1, 'm1') AS committed, dtm_query_prepared_in('item_barrier', 1, 'm2') AS not_yet;
SELECT dtm_barrier_in('item_barrier', 1, 'msg', 'm2', '00', 'msg');

-- it follows changes of the table
ALTER TABLE item_barrier RENAME TO bar;
ALTER TABLE bar RENAME COLUMN item TO "Item no.";
SELECT dtm_barrier_in('bar', 1, 'saga', 'renamed', '01', 'action'), dtm_barrier_in('bar', 1, 'saga', 'g', '01', 'action');
ALTER TABLE bar ALTER COLUMN "Item no." TYPE text;
SELECT dtm_barrier_in('bar', 1, 'saga', 'renamed', '01', 'action'), dtm_barrier_in('bar', 'x'::text, 'saga', 'renamed', '01', 'action');

-- tables that are none, and keys that are none
CREATE TABLE bare (item bigint PRIMARY KEY, gid text, branch_id text, op text, barrier_id text, reason text);
SELECT dtm_barrier_in('bare', 1, 'saga', 'g', '01', 'action');
SELECT dtm_barrier_in('bare', NULL::int, 'saga', 'g', '01', 'action');
SELECT dtm_barrier_in(NULL, 1, 'saga', 'g', '01', 'action');
SELECT dtm_barrier_in('bar', 1, 'saga', '', '01', 'action');
SELECT dtm_barrier_in('dtm.transactions', 1, 'saga', 'g', '01', 'action');

SELECT dtm_barrier_in(1::regclass, 1, 'saga', 'g', '01', 'action');

-- a column that rounds its keys: the query-back finds the row, with the column's own equality
CREATE TABLE rounded (price numeric(5, 2), gid text, branch_id text, op text, barrier_id text, reason text, PRIMARY KEY (price, gid, branch_id, op, barrier_id));
SELECT dtm_barrier_in('rounded', 1.239, 'msg', 'm', '00', 'msg') AS done, dtm_query_prepared_in('rounded', 1.239, 'm') AS committed;
CREATE TABLE named (name varchar(20), gid text, branch_id text, op text, barrier_id text, reason text, PRIMARY KEY (name, gid, branch_id, op, barrier_id));
CREATE FUNCTION anything(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the operator of somebody else'; END $$;
CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = anything);
SELECT dtm_barrier_in('named', 'a'::text, 'msg', 'm', '00', 'msg') AS done, dtm_query_prepared_in('named', 'a'::text, 'm') AS committed;
DROP OPERATOR = (varchar, varchar);
DROP FUNCTION anything;

-- a trigger that passes a barrier of the same table, which has changed meanwhile: the plan in use stays
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.price < 3 THEN
    GRANT SELECT ON rounded TO PUBLIC;
    PERFORM dtm_barrier_in('rounded', NEW.price + 1, 'saga', NEW.gid, '01', 'action');
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER again BEFORE INSERT ON rounded FOR EACH ROW EXECUTE FUNCTION again();
SELECT dtm_barrier_in('rounded', 1, 'saga', 'g', '01', 'action');
SELECT price, gid FROM rounded ORDER BY 1, 2;
DROP TABLE rounded, named;
DROP FUNCTION again;

-- it runs with the caller's rights
CREATE ROLE barrier_in_user;
GRANT dtm_user TO barrier_in_user;
SET ROLE barrier_in_user;
SELECT dtm_barrier_in('bar', 1, 'saga', 'r', '01', 'action');
RESET ROLE;
GRANT INSERT, SELECT ON bar TO barrier_in_user;
SET ROLE barrier_in_user;
SELECT dtm_barrier_in('bar', 1, 'saga', 'r', '01', 'action');
RESET ROLE;
DROP TABLE item, bar, bare;
DROP ROLE barrier_in_user;
