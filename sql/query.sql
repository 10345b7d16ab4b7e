-- What the API of the dtm server tells of transactions, in SQL: if this fails, an
-- operator or a gateway sees something else than there is.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.topic;
\set SHOW_CONTEXT never
SELECT dtm_subscribe('t', 'http://a/1'), dtm_subscribe('t', 'http://a/2');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t')], gid => 'AP-02');
-- AP-02
SELECT dtm_query('AP-02') #>> '{transaction,gid}' AS gid, jsonb_array_length(dtm_query('AP-02') -> 'branches') AS branches;
-- AP-03, AP-04
SELECT dtm_query('');
SELECT dtm_query('unknown');
SELECT dtm_query(NULL);
-- §2: empty fields are left out, none is null; id fits 32 bits
SELECT jsonb_object_agg(key, jsonb_typeof(value)) FROM jsonb_each(dtm_query('AP-02') -> 'transaction');
SELECT jsonb_object_agg(key, jsonb_typeof(value)) FROM jsonb_each(dtm_query('AP-02') #> '{branches,0}');
-- AP-05 to AP-08: what /all pages and filters is a view
SELECT dtm_submit('saga', gid => 'AP-07 ' || n) FROM generate_series(1, 3) n;
SELECT gid FROM dtm.transactions ORDER BY id DESC LIMIT 2;
SELECT gid FROM dtm.transactions WHERE id < (SELECT id FROM dtm.transactions WHERE gid = 'AP-07 2') ORDER BY id DESC LIMIT 2;
SELECT count(*) FROM dtm.transactions WHERE gid = 'AP-02';
SELECT count(*) FROM dtm.transactions WHERE status = 'submitted' AND trans_type = 'saga' AND created > now() - interval '1 hour';
SELECT count(*) FROM dtm.transactions WHERE created < now() - interval '1 hour';
-- AP-09, AP-10: topics
SELECT topic, version, url FROM dtm.topics WHERE topic = 't' ORDER BY ordinal;
SELECT count(*) FROM dtm.topics WHERE topic = 'unknown';
-- AP-13, AP-14
SELECT dtm_force_stop('AP-07 1');
SELECT dtm_status('AP-07 1');
SELECT dtm_force_stop('AP-07 1');
-- AP-15, CR-06: due now
UPDATE dtm.active SET next_time = now() + interval '1 day';
SELECT dtm_retry_now('AP-07 2');
SELECT updated - next_attempt < interval '1 s' AS same, next_attempt BETWEEN now() - interval '1 minute' AND clock_timestamp() AS now FROM dtm.transactions WHERE gid = 'AP-07 2';
-- of one that has ended there is nothing to do
SELECT dtm_retry_now('AP-07 1');
-- AP-16, AP-17
SELECT dtm_new_gid() <> '' AS gid;
SELECT dtm_submit('{"gid": "AP-17"}'::jsonb);
-- R-20, R-28: texts that clients may look for have codes here
SELECT dtm_prepare('tcc', 'R-20');
SELECT dtm_register_branch('R-20', '01', 'http://a/', 'http://a/');
SELECT dtm_register_branch('R-20', '01', 'http://a/', 'http://a/');
SELECT dtm_register_branch('R-28', '01', 'http://a/', 'http://a/');
-- JR-03: a message that has ended
SELECT dtm_submit('msg', gid => 'JR-03');
SELECT dtm_force_stop('JR-03');
SELECT dtm_submit('{"gid": "JR-03", "trans_type": "msg"}'::jsonb);
-- SO-12: what old SDKs send besides is passed over
SELECT dtm_submit('{"gid": "SO-12", "trans_type": "saga", "passthrough_headers": ["a"], "subType": 1, "op": {}, "steps": [{"action": ""}], "payloads": [""]}'::jsonb);
-- ST-01: a transaction and its branches are stored together, or not at all
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'), dtm_step('ftp://b/')], gid => 'ST-01');
SELECT count(*) FROM dtm.branches WHERE gid = 'ST-01';
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.topic;
