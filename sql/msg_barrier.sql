-- What an SDK's DoAndSubmit does (§8.3), statement by statement: if this fails, a
-- message is sent whose business was not done, or the other way round.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm_barrier.barrier;
\set SHOW_CONTEXT never
CREATE TABLE business (gid text);
-- MD-01, MD-07: prepare, business with its barrier, submit
SELECT dtm_prepare('msg', 'MD-01', ARRAY[dtm_step('http://in/')], '{"query_prepared": "http://q/"}');
BEGIN;
SELECT dtm_barrier('msg', 'MD-01', '00', 'msg');
INSERT INTO business VALUES ('MD-01');
COMMIT;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://in/')], 'MD-01');
SELECT dtm_status('MD-01'), dtm_query_prepared('MD-01');
-- MD-02: the business fails; the SDK asks the query-back itself, and aborts
SELECT dtm_prepare('msg', 'MD-02', ARRAY[dtm_step('http://in/')], '{"query_prepared": "http://q/"}');
BEGIN;
SELECT dtm_barrier('msg', 'MD-02', '00', 'msg');
INSERT INTO business VALUES ('MD-02');
ROLLBACK;
SELECT dtm_query_prepared('MD-02');
SELECT dtm_abort('MD-02', 'business failed');
SELECT dtm_status('MD-02');
-- MD-03: the query-back came first; the business is refused
SELECT dtm_prepare('msg', 'MD-03', ARRAY[dtm_step('http://in/')], '{"query_prepared": "http://q/"}');
SELECT dtm_query_prepared('MD-03');
BEGIN;
SELECT dtm_barrier('msg', 'MD-03', '00', 'msg');
INSERT INTO business VALUES ('MD-03');
ROLLBACK;
SELECT dtm_abort('MD-03');
-- MD-05, MD-09: the commit fails, and nothing was committed
SELECT dtm_prepare('msg', 'MD-05', ARRAY[dtm_step('http://in/')], '{"query_prepared": "http://q/"}');
CREATE TABLE late (x int UNIQUE DEFERRABLE INITIALLY DEFERRED);
BEGIN;
SELECT dtm_barrier('msg', 'MD-05', '00', 'msg');
INSERT INTO business VALUES ('MD-05');
INSERT INTO late VALUES (1), (1);
COMMIT;
SELECT dtm_query_prepared('MD-05');
SELECT dtm_abort('MD-05');
-- MD-06, MD-08: the commit was done, but the SDK does not know: the query-back says yes
SELECT dtm_prepare('msg', 'MD-06', ARRAY[dtm_step('http://in/')], '{"query_prepared": "http://q/"}');
BEGIN;
SELECT dtm_barrier('msg', 'MD-06', '00', 'msg');
INSERT INTO business VALUES ('MD-06');
COMMIT;
SELECT dtm_query_prepared('MD-06');
SELECT dtm_submit('msg', gid => 'MD-06');
-- in this database it takes one transaction
BEGIN;
INSERT INTO business VALUES ('here');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://in/')], 'here');
COMMIT;
BEGIN;
INSERT INTO business VALUES ('not here');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://in/')], 'not here');
ROLLBACK;
-- what was done is what is sent
SELECT t.gid, t.status, b.gid IS NOT NULL AS done FROM dtm.transactions t LEFT JOIN business b USING (gid) ORDER BY 1;
SELECT gid FROM business WHERE dtm_status(gid) IS NULL;
DROP TABLE business, late;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm_barrier.barrier;
