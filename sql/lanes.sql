-- Lanes: one after another.  Empty URLs succeed without a call; 127.0.0.1:1 is a host
-- that refuses connections.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.dead_letter, dtm.lane;
CREATE FUNCTION lane_of(gid text, lane text, url text DEFAULT '', options jsonb DEFAULT '{}', step jsonb DEFAULT '{}', trans_type text DEFAULT 'msg') RETURNS text LANGUAGE sql
AS $$ SELECT dtm_submit($6, ARRAY[dtm_step($3, options => $5)], gid => $1, options => jsonb_build_object('lane', $2) || $4) $$;
-- what is wrong
SELECT dtm_submit('msg', ARRAY[dtm_step('')], options => '{"lane": 3}');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], options => '{"lane": "a\nb"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], options => jsonb_build_object('lane', repeat('x', 129)));
SELECT dtm_submit('msg', ARRAY[dtm_step('')], options => '{"lane": "a", "lane_on_park": "stop"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], options => '{"lane_on_park": "skip"}');
SELECT dtm_prepare('tcc', options => '{"lane": "a"}');
SELECT dtm_submit('{"trans_type": "msg", "gid": "wire", "steps": [{"action": ""}], "payloads": [""], "lane": "wire", "lane_on_park": "skip"}'::jsonb);
SELECT gid, options FROM dtm.transactions;
CALL dtm_run_due();
SELECT count(*) FROM dtm.lane;

-- in order, however many can run; other lanes and none do not wait
SELECT lane_of('a1', 'a', 'http://127.0.0.1:1/'), lane_of('a2', 'a'), lane_of('a3', 'a', trans_type => 'saga'), lane_of('b1', 'b'), lane_of('none', '');
SELECT lane, transactions, first, status, parked, submitted_by = current_user::regrole AS mine FROM dtm.lanes ORDER BY lane;
SELECT r.gid, a.held, a.next_time = 'infinity' AS not_due FROM dtm.active a JOIN dtm.request r USING (id) ORDER BY id;
CALL dtm_run_due();
SELECT gid, status, failures FROM dtm.transactions WHERE gid IN ('a1', 'a2', 'a3', 'b1', 'none') ORDER BY id;
-- nobody starts one before its turn
SELECT dtm_retry_now('a2');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'a2', options => '{"lane": "a"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'a2', options => '{"lane": "b"}');
SELECT dtm_resume('a2');
CALL dtm_run_due();
SELECT gid, status FROM dtm.transactions WHERE gid LIKE 'a_' ORDER BY id;
-- the end of the first one, whatever it is, is the beginning of the next
SELECT dtm_force_stop('a1');
SELECT r.gid, a.held, a.next_time <= clock_timestamp() AS due FROM dtm.active a JOIN dtm.request r USING (id) ORDER BY id;
CALL dtm_run_due();
SELECT gid, status, started FROM dtm.transactions JOIN (SELECT id, row_number() OVER (ORDER BY finished, id) AS started FROM dtm.finished) f USING (id) WHERE gid LIKE 'a_' ORDER BY id;
SELECT count(*) FROM dtm.lane;

-- one in the middle goes
SELECT lane_of('c1', 'c', 'http://127.0.0.1:1/'), lane_of('c2', 'c'), lane_of('c3', 'c');
SELECT dtm_force_stop('c2');
SELECT lane, transactions, first FROM dtm.lanes;
SELECT r.gid, a.held FROM dtm.active a JOIN dtm.request r USING (id) ORDER BY id;
-- by hand, too
SELECT lane_of('c4', 'c');
DELETE FROM dtm.active a USING dtm.request r WHERE r.id = a.id AND r.gid = 'c3';
SELECT dtm_force_stop('c1');
CALL dtm_run_due();
SELECT dtm_status('c4');
SELECT count(*) FROM dtm.lane;

-- the lane itself: it is made again
SELECT lane_of('n1', 'n');
DELETE FROM dtm.lane WHERE id = 0;
CALL dtm_run_due();
SELECT dtm_status('n1');
SELECT lane_of('n2', 'n');
DELETE FROM dtm.lane WHERE id = 0;
SELECT dtm_force_stop('n2');
SELECT count(*) FROM dtm.lane;

-- what is parked keeps the lane waiting, or not
SELECT lane_of('d1', 'd', 'http://127.0.0.1:1/', step => '{"max_attempts": 1}'), lane_of('d2', 'd');
SELECT lane_of('e1', 'e', 'http://127.0.0.1:1/', '{"lane_on_park": "skip"}', '{"max_attempts": 1}'), lane_of('e2', 'e');
SELECT lane_of('f1', 'f', 'http://127.0.0.1:1/', step => '{"max_attempts": 1, "on_exhausted": "discard"}'), lane_of('f2', 'f');
CALL dtm_run_due();
CALL dtm_run_due();
SELECT gid, status, options -> 'lane' AS lane, options -> 'lane_on_park' AS on_park FROM dtm.transactions WHERE gid ~ '^[def]' ORDER BY id;
SELECT gid FROM dtm.parked ORDER BY id;
SELECT lane, transactions, first, parked FROM dtm.lanes;
-- resumed, it has its turn; or has lost it
SELECT lane_of('e3', 'e', 'http://127.0.0.1:1/');
SELECT gid, dtm_resume(gid) FROM dtm.parked ORDER BY id;
SELECT r.gid, a.held, a.next_time <= clock_timestamp() AS due FROM dtm.active a JOIN dtm.request r USING (id) ORDER BY id;
SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE gid IN ('d1', 'e1', 'e3');
CALL dtm_run_due();
SELECT gid, status FROM dtm.transactions WHERE gid ~ '^[de]' ORDER BY id;
SELECT count(*) FROM dtm.lane;

-- one that is prepared has its place; so has one that is delayed
SELECT dtm_prepare('msg', 'g1', ARRAY[dtm_step('')], '{"lane": "g"}');
SELECT lane_of('g2', 'g', options => '{"delay": 60}'), lane_of('g3', 'g');
SELECT clock_timestamp() AS t \gset
CALL dtm_run_due();
SELECT gid, status FROM dtm.transactions WHERE gid LIKE 'g_' ORDER BY id;
SELECT dtm_submit('msg', gid => 'g1', options => '{"lane": "h"}');
SELECT dtm_submit('msg', gid => 'g1', options => '{"lane": "g"}');
CALL dtm_run_due();
CALL dtm_run_due(:'t'::timestamptz + interval '50 s');
SELECT gid, status FROM dtm.transactions WHERE gid LIKE 'g_' ORDER BY id;
CALL dtm_run_due(:'t'::timestamptz + interval '61 s');
CALL dtm_run_due(:'t'::timestamptz + interval '61 s');
SELECT gid, status FROM dtm.transactions WHERE gid LIKE 'g_' ORDER BY id;

-- a saga's time-out counts while it waits, and undoes nothing
SELECT lane_of('h1', 'h', 'http://127.0.0.1:1/');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:1/', 'http://127.0.0.1:1/')], gid => 'h2', options => '{"lane": "h", "timeout_to_fail": 30}');
SELECT clock_timestamp() AS t \gset
CALL dtm_run_due();
SELECT next_attempt = created + interval '30 s' AS in_time FROM dtm.transactions WHERE gid = 'h2';
CALL dtm_run_due(:'t'::timestamptz + interval '31 s');
SELECT gid, status, rollback_reason FROM dtm.transactions WHERE gid = 'h2';
SELECT op, status, attempts FROM dtm.branches WHERE gid = 'h2' ORDER BY ordinal;
SELECT lane, transactions, first FROM dtm.lanes;
SELECT dtm_force_stop('h1');

-- each role has its own
CREATE ROLE regress_lane;
GRANT dtm_user TO regress_lane;
SELECT lane_of('i1', 'i', 'http://127.0.0.1:1/');
SET ROLE regress_lane;
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'i2', options => '{"lane": "i"}');
SELECT lane, first FROM dtm.lanes;
RESET ROLE;
SELECT lane, first, submitted_by = 'regress_lane'::regrole AS theirs FROM dtm.lanes ORDER BY first;
CALL dtm_run_due();
SELECT dtm_status('i1'), dtm_status('i2');
SELECT dtm_force_stop('i1');

-- a role that is renamed has its lanes; one that gets its name has not
SET ROLE regress_lane;
SELECT lane_of('k1', 'k', 'http://127.0.0.1:1/');
RESET ROLE;
ALTER ROLE regress_lane RENAME TO regress_lane_renamed;
CREATE ROLE regress_lane IN ROLE dtm_user;
SET ROLE regress_lane_renamed;
SELECT lane_of('k2', 'k');
SET ROLE regress_lane;
SELECT lane_of('l1', 'k');
RESET ROLE;
SELECT lane, transactions, first, submitted_by FROM dtm.lanes ORDER BY first;
CALL dtm_run_due();
SELECT gid, status FROM dtm.transactions WHERE gid ~ '^[kl].$' ORDER BY id;
-- restored where the roles have other OIDs, each that of the other: dumps have their names
UPDATE dtm.lane SET role = role::text::dtm.submitter, lane = 'k' || E'\n' || 'regress_lane'::regrole::oid WHERE lane ~ '^k';
UPDATE dtm.request SET lane = 'k' || E'\n' || 'regress_lane'::regrole::oid WHERE gid LIKE 'k_';
SET ROLE regress_lane_renamed;
SELECT lane_of('k3', 'k');
SET ROLE regress_lane;
SELECT lane_of('l2', 'k', 'http://127.0.0.1:1/'), lane_of('l3', 'k');
RESET ROLE;
SELECT lane, transactions, first, submitted_by FROM dtm.lanes ORDER BY first;
-- dropped, and made again
SET client_min_messages = error;
DROP OWNED BY regress_lane_renamed;
DROP ROLE regress_lane_renamed;
CREATE ROLE regress_lane_renamed IN ROLE dtm_user;
SET ROLE regress_lane_renamed;
SELECT lane_of('m1', 'k');
RESET ROLE;
SELECT lane, transactions, first, submitted_by FROM dtm.lanes ORDER BY first;
CALL dtm_run_due();
SELECT gid, status FROM dtm.transactions WHERE gid ~ '^[klm].$' ORDER BY id;
SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE gid ~ '^[klm].$' AND finished IS NULL ORDER BY id;
SELECT count(*) FROM dtm.lane;
DROP OWNED BY regress_lane_renamed;
DROP ROLE regress_lane_renamed;

-- many in one transaction, and all gone if it is rolled back
BEGIN;
SELECT count(lane_of('j' || n, 'j')) FROM generate_series(1, 2000) n;
ROLLBACK;
SELECT count(*) FROM dtm.lane;
SELECT count(lane_of('j' || n, 'j' || n % 3)) FROM generate_series(1, 300) n;
SELECT lane, transactions, first FROM dtm.lanes ORDER BY lane;
CALL dtm_run_due();
SELECT count(*), count(*) FILTER (WHERE before > finished) AS overtaken
  FROM (SELECT finished, lag(finished) OVER (PARTITION BY options ->> 'lane' ORDER BY id) AS before FROM dtm.transactions WHERE gid LIKE 'j%' AND status = 'succeed') j;
SELECT count(*) FROM dtm.lane;
DROP FUNCTION lane_of;
DROP OWNED BY regress_lane;
DROP ROLE regress_lane;
