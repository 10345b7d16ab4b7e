-- Which transactions make one alert, when that is opened and resolved, and who sees it.  If this
-- fails, an outage is told of for each transaction, or not at all, or to those whom it does not concern.
\set SHOW_CONTEXT never
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.act, dtm.lane, dtm.dead_letter, dtm.alert;
ALTER SEQUENCE dtm.alert_id_seq RESTART;
CREATE ROLE regress_dtm_operator IN ROLE dtm_admin;
CREATE ROLE regress_dtm_app IN ROLE dtm_user;
-- what is the same
SELECT dtm.alert_class('no stock for order-17 at 10:11:12'), dtm.alert_class(repeat('ä', 150)) = repeat('ä', 100) AS cut;
SELECT dtm.url_host('HTTP://a@Shop/x?y'), dtm.url_host('https://shop:8443/x'), dtm.url_host('grpc://shop:50051/a.B/C'), dtm.url_host('shop:50051/a.B/C');
-- the page names hosts as dtm.stat_hosts does, so that it finds what waits for one
SELECT dtm.page_host(u) AS host FROM (VALUES ('HTTP://a@Shop/x?y'), ('https://shop:8443/x'), ('grpc://shop:50051/a.B/C'), ('server:none/x'), ('sql:shop.book?x'), ('')) v(u);
SELECT dtm.alert_message('unreachable', '*'), dtm.alert_message('ongoing', '*'), dtm.alert_message('ongoing', 'h');
CREATE SERVER regress_dtm_shop FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'https://shop.internal/api');
SELECT dtm.alert_subject('server:regress_dtm_shop/x'), dtm.alert_subject('server:nowhere/x'), dtm.alert_subject('sql:public.f?x'), dtm.alert_subject(''), dtm.alert_subject(NULL);
DROP SERVER regress_dtm_shop;

-- nothing is the matter
CREATE VIEW look AS SELECT id, is_over, message, regexp_replace(detail, '[-0-9]+ [0-9:.+]+', '...', 'g') AS detail, hint IS NOT NULL AS hint FROM dtm.look_for_alerts('0 s', 60, false, '1 day');
SELECT * FROM look;

-- calls that have failed
CREATE FUNCTION fail(gid text, http_status smallint, error text, failures int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO dtm.attempt SELECT r.id, clock_timestamp(), 1000, 0, $2, 'E', NULL, $3 FROM dtm.request r WHERE r.gid = $1;
  UPDATE dtm.active a SET failures = $4, next_time = now() + interval '1 hour' FROM dtm.request r WHERE r.id = a.id AND r.gid = $1;
$$;
SELECT count(dtm_submit('msg', ARRAY[dtm_step('http://shop/Pay')], 'pay-' || n)) FROM generate_series(1, 4) n;
SELECT count(fail('pay-' || n, 500::smallint, 'no stock for order ' || n, n)) FROM generate_series(1, 4) n;
SELECT * FROM look;
SELECT kind, subject, error, count, state, gid FROM dtm.alerts;
-- told once
SELECT * FROM look;
-- another one of the same kind, another error, another host, a silent one with two errors
SELECT count(dtm_submit('msg', ARRAY[dtm_step(CASE WHEN n < 8 THEN 'http://shop/Pay' WHEN n = 8 THEN 'http://bank/Pay' ELSE 'http://down/Pay' END)], 'pay-' || n)) FROM generate_series(5, 10) n;
SELECT fail('pay-5', 500::smallint, 'no stock for order 5', 3), fail('pay-6', 404::smallint, 'not found', 3), fail('pay-7', 500::smallint, 'not found', 3),
       fail('pay-8', 500::smallint, 'no stock for order 5', 3), fail('pay-9', NULL, 'Connection refused', 3), fail('pay-10', NULL, 'Operation timed out after 3000 ms', 3);
SELECT is_over, message, detail FROM look;
SELECT kind, subject, count, state FROM dtm.alerts ORDER BY id;
SELECT dtm.alert_payload(a, false)::jsonb - 'since' AS payload FROM dtm.alert a WHERE kind = 'unreachable';
-- parked, ONGOING for too long, discarded
UPDATE dtm.active a SET next_time = 'infinity', parked = now(), parked_op = 0, parked_reason = 'failed (attempts: 3): no' FROM dtm.request r WHERE r.id = a.id AND r.gid IN ('pay-6', 'pay-7');
UPDATE dtm.active a SET failures = 0, ongoing_since = now() - interval '1 day' FROM dtm.request r WHERE r.id = a.id AND r.gid = 'pay-8';
INSERT INTO dtm.dead_letter SELECT r.id, 0, now(), 'failed (attempts: 2): no' FROM dtm.request r WHERE r.gid = 'pay-1';
SELECT is_over, message FROM look;
SELECT kind, subject, count, state FROM dtm.alerts ORDER BY id;
-- all is over
SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE finished IS NULL;
UPDATE dtm.dead_letter SET discarded = discarded - interval '1 hour';
SELECT is_over, message FROM look;
SELECT count(*), bool_and(state = 'resolved' AND count = 0 AND resolved >= since) FROM dtm.alerts;
-- and comes back: that is another one, if it was over for long enough
SELECT dtm_submit('msg', ARRAY[dtm_step('http://shop/Pay')], 'again');
SELECT fail('again', 500::smallint, 'no stock for order 4711', 3);
SELECT message FROM dtm.look_for_alerts('1 hour', 60, false, '1 day');
SELECT dtm_force_stop('again');
SELECT message FROM dtm.look_for_alerts('1 hour', 60, false, '1 day');
SELECT state, count FROM dtm.alerts LIMIT 1;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://shop/Pay')], 'and again');
SELECT fail('and again', 500::smallint, 'no stock for order 4712', 3);
SELECT message FROM dtm.look_for_alerts('1 hour', 60, false, '1 day');
SELECT state, count, gid FROM dtm.alerts LIMIT 1;
-- so many in an hour, and no more
SELECT dtm_submit('msg', ARRAY[dtm_step('http://limited/Pay')], 'limited');
SELECT fail('limited', 500::smallint, 'no', 3);
SELECT message FROM dtm.look_for_alerts('0 s', 1, false, '1 day');
SELECT subject, told IS NULL AS held_back FROM dtm.alerts WHERE state = 'open' ORDER BY id;
SELECT message FROM dtm.look_for_alerts('0 s', 0, false, '1 day');
-- with a webhook, it is to be told of what others were told
SELECT sent FROM dtm.alert WHERE subject = 'http://limited:80';
SELECT dtm_force_stop('limited');
SELECT message FROM dtm.look_for_alerts('0 s', 0, true, '1 day');
SELECT sent FROM dtm.alert WHERE subject = 'http://limited:80';
SELECT count(*) FROM dtm.look_for_alerts('0 s', 0, false, '1 day');
SELECT sent FROM dtm.alert WHERE subject = 'http://limited:80';
-- what was resolved is removed in time
SELECT count(*) FROM dtm.look_for_alerts('0 s', 0, false, '0 s');
SELECT subject, state FROM dtm.alerts;
-- many causes are few alerts
SELECT count(dtm_submit('msg', ARRAY[dtm_step('http://many/Pay')], 'many-' || n)) FROM generate_series(1, 40) n;
SELECT count(fail('many-' || n, 500::smallint, repeat('a', n), 3)) FROM generate_series(1, 40) n;
SELECT count(*) FROM dtm.look_for_alerts('0 s', 0, false, '1 day');
SELECT count(*), sum(count), max(count) FILTER (WHERE subject = '*') AS others FROM dtm.alerts WHERE state = 'open';
-- who sees it
SET ROLE regress_dtm_app;
SELECT count(*) FROM dtm.alerts;
RESET ROLE;
SET ROLE regress_dtm_operator;
SELECT count(*) > 0 FROM dtm.alerts;
SELECT count(*) FROM dtm.alert;
SELECT * FROM dtm.look_for_alerts('0 s', 0, false, '1 day');
SELECT * FROM dtm.reasons_for_alerts(now(), '0 s');
RESET ROLE;
-- the names of operators that somebody else has made are not ours
CREATE SCHEMA regress_evil;
CREATE FUNCTION regress_evil.stop(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR regress_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_evil.stop);
SET search_path = regress_evil, pg_catalog, public;
SELECT count(*) FROM dtm.look_for_alerts('0 s', 0, false, '1 day');
SELECT count(*) > 0 FROM dtm.alerts;
RESET search_path;
DROP SCHEMA regress_evil CASCADE;
DROP VIEW look;
DROP FUNCTION fail(text, smallint, text, int);
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act, dtm.dead_letter, dtm.alert;
DROP ROLE regress_dtm_operator, regress_dtm_app;
