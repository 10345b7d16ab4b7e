-- The submitting functions, as far as they go without a call.
-- The first submit of a session says that no coordinator runs here.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x', 'http://a/y', '{"amount": 30}'), dtm_step('http://b/x')],
                  gid => 's1', options => '{"timeout_to_fail": 90, "retry_interval": 1.5, "request_timeout": 0.25, "retry_limit": 3, "branch_headers": {"X-A": "1"}}');
SELECT dtm_status('s1');
ROLLBACK;
SELECT dtm_status('s1');
SELECT gid, trans_type, status FROM dtm.transactions;

SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x', 'http://a/y', '{"amount": 30}'), dtm_step('http://b/x')],
                  gid => 's1', options => '{"timeout_to_fail": 90, "retry_interval": 1.5, "request_timeout": 0.25, "retry_limit": 3, "branch_headers": {"X-A": "1"}}');
SELECT gid, trans_type, status, finished, rollback_reason, submitted_by = current_role::regrole AS mine, steps, failures, options,
       next_attempt = created AS due_at_once
  FROM dtm.transactions;
SELECT gid, branch_id, op, url, status, attempts, last_error, convert_from(payload, 'UTF8') AS payload FROM dtm.branches;
SELECT * FROM dtm.calls;

-- the same again is harmless, with the same steps or with none
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x', 'http://a/y', '{"amount": 30}'), dtm_step('http://b/x')], gid => 's1');
SELECT dtm_submit('saga', gid => 's1');
SELECT count(*) FROM dtm.transactions WHERE gid = 's1';
-- payloads are compared as JSON
SELECT dtm_submit('saga', '[{"payload": { "amount" : 3e1 }, "compensate": "http://a/y", "action": "http://a/x"}, {"action": "http://b/x"}]'::text, 's1');
SELECT dtm_submit('msg', '[{"action": "http://a/x", "payload": {"b": [1, 2], "a": 1.0}, "max_attempts": 3}, {"action": "http://b/x"}]'::text, 'over'), dtm_force_stop('over');
SELECT dtm_submit('msg', '[{"max_attempts": 3, "payload": {"a": 1, "b": [1,2]}, "action": "http://a/x"}, {"action": "http://b/x"}]'::jsonb, 'over');
-- and what differs is said, also of one that has ended
SELECT dtm_submit('msg', '[{"action": "http://a/x", "payload": {"b": [2, 1], "a": 1}, "max_attempts": 3}, {"action": "http://b/x"}]'::text, 'over');
SELECT dtm_submit('msg', '[{"action": "http://a/x", "payload": {"b": [1, 2], "a": 1}, "max_attempts": 4}, {"action": "http://b/x"}]'::text, 'over');
SELECT dtm_submit('msg', '[{"action": "http://a/x", "payload": {"b": [1, 2], "a": 1}, "max_attempts": 3}, {"action": "http://b/y"}]'::text, 'over');
SELECT dtm_submit('msg', '[{"action": "http://a/x", "payload": {"b": [1, 2], "a": 1}, "max_attempts": 3}]'::text, 'over');
SELECT dtm_submit('msg', gid => 'over');
DELETE FROM dtm.request WHERE gid = 'over';
-- other steps are not
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x', 'http://a/y', '{"amount": 31}'), dtm_step('http://b/x')], gid => 's1');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x', 'http://a/y', '{"amount": 30}')], gid => 's1');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x', 'http://a/z', '{"amount": 30}'), dtm_step('http://b/x')], gid => 's1');
SELECT dtm_submit('msg', gid => 's1');
SELECT dtm_prepare('saga', 's1');

-- the wire's object
SELECT dtm_submit('{"gid": "w1", "trans_type": "saga", "steps": [{"action": "http://a/x", "compensate": "http://a/y"}, {"action": "http://b/x", "compensate": ""}],
  "payloads": ["{\"amount\":30}", ""], "custom_data": "{\"concurrent\":true,\"orders\":{\"1\":[0]}}", "request_timeout": 8, "retry_interval": 0,
  "passthrough_headers": [], "branch_headers": {}, "concurrent": false, "protocol": "", "query_prepared": null, "wait_result": false, "subType": 7, "op": {"a": []}}'::jsonb);
SELECT options FROM dtm.transactions WHERE gid = 'w1';
SELECT branch_id, op, url, convert_from(payload, 'UTF8') AS payload FROM dtm.branches WHERE gid = 'w1';
-- SG-07: the old place of a payload
SELECT dtm_submit('{"gid": "w2", "trans_type": "saga", "steps": [{"action": "http://a/x", "compensate": "http://a/y", "data": "{\"a\":1}"}]}'::jsonb);
SELECT convert_from(payload, 'UTF8') AS payload FROM dtm.branches WHERE gid = 'w2';
-- R-36: top-level concurrent is a msg's; line ends and semicolons leave a gid
SELECT dtm_submit('{"gid": "w;3\n", "trans_type": "msg", "steps": [{"action": "http://a/x"}], "payloads": ["1"], "concurrent": true, "custom_data": "{\"delay\":10}"}'::jsonb);
SELECT gid, status, options, next_attempt - created AS delay FROM dtm.transactions WHERE gid = 'w3';
SELECT dtm_submit('{"gid": "w4", "trans_type": "saga", "steps": [{"action": "http://a/x"}], "payloads": ["1"], "concurrent": true}'::jsonb);
SELECT options FROM dtm.transactions WHERE gid = 'w4';

-- MS-04: prepare, prepare, submit, prepare
SELECT dtm_prepare('msg', 'm1', ARRAY[dtm_step('http://a/x')], '{"query_prepared": "http://a/q"}');
SELECT dtm_prepare('msg', 'm1', ARRAY[dtm_step('http://other/x')]);
SELECT status, next_attempt - created AS queried_after, options FROM dtm.transactions WHERE gid = 'm1';
-- an option that comes only now counts: CS-03
SELECT dtm_submit('msg', gid => 'm1', options => '{"delay": 10}');
SELECT status, options, next_attempt - updated BETWEEN '9.9 s' AND '10 s' AS delayed FROM dtm.transactions WHERE gid = 'm1';
SELECT url FROM dtm.branches WHERE gid = 'm1';
SELECT dtm_prepare('msg', 'm1');

-- abort: a prepared msg fails, other things refuse
SELECT dtm_prepare('msg', 'm2', ARRAY[dtm_step('http://a/x')]);
SELECT dtm_abort('m2', 'changed my mind');
SELECT status, rollback_reason, finished IS NOT NULL AS finished, next_attempt FROM dtm.transactions WHERE gid = 'm2';
SELECT dtm_abort('m2');
SELECT dtm_submit('msg', gid => 'm2');
SELECT dtm_abort('m1');
SELECT dtm_abort('s1');
SELECT dtm_abort('nobody');

-- R-30: a prepared saga waits; R-25: its stored steps are run
SELECT dtm_prepare('saga', 's2', ARRAY[dtm_step('', ''), dtm_step('', '')]);
SELECT status, next_attempt FROM dtm.transactions WHERE gid = 's2';
SELECT dtm_submit('saga', gid => 's2');
CALL dtm_run_due(max_transactions => 0);
SELECT dtm_status('s2');

-- tcc and xa: branches are registered while it is prepared
SELECT dtm_prepare('tcc', 't1', options => '{"timeout_to_fail": 100}');
SELECT dtm_register_branch('t1', '01', 'http://a/confirm', 'http://a/cancel', '{"amount": 30}');
SELECT dtm_register_branch('{"gid": "t1", "trans_type": "tcc", "branch_id": "0101", "data": "{\"amount\":30}", "confirm": "http://b/confirm", "cancel": "http://b/cancel", "status": "prepared", "try": ""}'::jsonb);
SELECT dtm_register_branch('t1', '01', 'http://a/confirm', 'http://a/cancel');
SELECT dtm_register_branch('t1', '02', 'http://a/xa');
SELECT dtm_register_branch('m1', '02', 'http://a/confirm', 'http://a/cancel');
SELECT trans_type, status, steps, next_attempt - created AS times_out FROM dtm.transactions WHERE gid = 't1';
SELECT branch_id, op, url, status, convert_from(payload, 'UTF8') AS payload FROM dtm.branches WHERE gid = 't1';
SELECT dtm_submit('tcc', gid => 't1');
SELECT dtm_register_branch('t1', '03', 'http://a/confirm', 'http://a/cancel');
SELECT dtm_submit('tcc', gid => 't1');
SELECT dtm_abort('t1');
SELECT dtm_prepare('xa', 'x1');
SELECT dtm_register_branch('x1', '01', 'http://a/xa');
SELECT branch_id, op, url FROM dtm.branches WHERE gid = 'x1';
SELECT dtm_abort('x1', 'no');
SELECT dtm_abort('x1');
SELECT status, rollback_reason FROM dtm.transactions WHERE gid = 'x1';
SELECT dtm_submit('xa', gid => 'x1');
-- R-24: without branches there is nothing to do
SELECT dtm_submit('tcc', gid => 't2');

-- in functions, DO blocks, subtransactions, triggers
CREATE TABLE orders (id int PRIMARY KEY);
CREATE FUNCTION ship() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM dtm_submit('msg', ARRAY[dtm_step('http://a/ship')], gid => 'ship-' || NEW.id); RETURN NEW; END $$;
CREATE TRIGGER ship AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION ship();
INSERT INTO orders VALUES (1), (2);
DO $$
BEGIN
  PERFORM dtm_submit('msg', gid => 'kept');
  BEGIN
    PERFORM dtm_submit('msg', gid => 'undone');
    RAISE EXCEPTION 'no';
  EXCEPTION WHEN OTHERS THEN NULL;
  END;
  BEGIN
    INSERT INTO orders VALUES (3);
    INSERT INTO orders VALUES (1);
  EXCEPTION WHEN unique_violation THEN NULL;
  END;
END $$;
SELECT gid FROM dtm.transactions WHERE gid IN ('kept', 'undone') OR gid LIKE 'ship-%' ORDER BY gid;
DROP TABLE orders;
DROP FUNCTION ship();

-- gids made here: letters and digits, in the order they were made
SELECT bool_and(gid ~ '^[0-9a-z]{26}$') AS well_formed, count(DISTINCT gid) AS distinct
  FROM (SELECT dtm_new_gid() AS gid FROM generate_series(1, 1000)) g;
SELECT dtm_new_gid() COLLATE "C" < (SELECT dtm_new_gid() FROM pg_sleep(0.002)) AS sorts_by_time;
SELECT dtm_submit('msg') ~ '^[0-9a-z]{26}$' AS made;

-- the wire's /query
SELECT jsonb_pretty(dtm_query('w2') #- '{transaction,id}' #- '{transaction,create_time}' #- '{transaction,update_time}' #- '{transaction,next_cron_time}'
  #- '{branches,0,create_time}' #- '{branches,0,update_time}' #- '{branches,1,create_time}' #- '{branches,1,update_time}');
SELECT dtm_query('nobody');
SELECT dtm_query(NULL), dtm_status(NULL), dtm_status('nobody');

-- steering
SELECT dtm_force_stop('s1');
SELECT status, rollback_reason FROM dtm.transactions WHERE gid = 's1';
SELECT dtm_force_stop('s1');
SELECT dtm_retry_now('s1');
SELECT dtm_retry_now('m1');
SELECT next_attempt <= clock_timestamp() AS due FROM dtm.transactions WHERE gid = 'm1';
-- CR-05, AP-12
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
SELECT count(dtm_submit('msg', gid => 'later' || n, options => '{"delay": 110}')) FROM generate_series(1, 10) n;
SELECT dtm_submit('msg', gid => 'sooner', options => '{"delay": 90}');
-- delays are left alone
SELECT * FROM dtm_reset_cron_time('100 s', 9);
UPDATE dtm.active SET failures = 1;
SELECT * FROM dtm_reset_cron_time('100 s', 9);
SELECT count(*) FROM dtm.transactions WHERE next_attempt <= clock_timestamp();
SELECT * FROM dtm_reset_cron_time('100 s', 10);
SELECT * FROM dtm_reset_cron_time('88 s', 10);
SELECT * FROM dtm_reset_cron_time('88 s', 10);
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;

-- a wait for what this transaction has not committed would never end
BEGIN;
SELECT dtm_submit('msg', gid => 'mine');
SELECT dtm_wait('mine');
ROLLBACK;
SELECT dtm_wait('nobody');
SELECT dtm_submit('msg', gid => 'never-run', options => '{"delay": 1000}');
SELECT dtm_wait('never-run', '0 s');
SELECT dtm_wait('never-run', '-1 s');
SELECT dtm_wait('never-run', '-10000 years');
SELECT dtm_wait('never-run', NULL);
-- who waits is told that nobody drives it
\c -
SELECT dtm_wait('never-run', '1 s');
SELECT dtm_force_stop('never-run');
SELECT dtm_wait('never-run');
BEGIN TRANSACTION READ ONLY;
SELECT dtm_submit('msg');
ROLLBACK;
SELECT state, backlog FROM dtm.stat_coordinator;
