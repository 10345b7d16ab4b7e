-- If this fails, messages of a topic go to other URLs than are subscribed to it.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.topic;
\set SHOW_CONTEXT never
-- TP-01
SELECT dtm_subscribe('t', 'http://a/1', 'first');
SELECT dtm_subscribe('t', 'http://a/1');
SELECT dtm_subscribe('', 'http://a/1');
SELECT dtm_subscribe(NULL, 'http://a/1');
SELECT dtm_subscribe('t', '');
SELECT dtm_subscribe('t', NULL);
SELECT dtm_subscribe('t', 'ftp://a/');
SELECT dtm_subscribe('t', 'topic://t');
-- one of gRPC has a port, if it has no scheme
SELECT dtm_subscribe('t', 'orders/api/paid');
SELECT dtm_subscribe('t', 'http://a/2', NULL);
SELECT * FROM dtm.topics;
-- TP-05: expanded when it is stored; ids of two URLs, of one, of none
SELECT dtm_subscribe('one', 'http://b/');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t', payload => '{"n": 1}'), dtm_step('http://c/'), dtm_step('topic://one')], gid => 'm1');
SELECT branch_id, op, url, topic, convert_from(payload, 'UTF8') AS payload FROM dtm.branches WHERE gid = 'm1' ORDER BY ordinal;
-- a change of the topic leaves it as it is, and a repeat is harmless
SELECT dtm_subscribe('t', 'http://a/3');
SELECT dtm_unsubscribe('t', 'http://a/1');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t', payload => '{"n": 1}'), dtm_step('http://c/'), dtm_step('topic://one')], gid => 'm1');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t', payload => '{"n": 2}'), dtm_step('http://c/'), dtm_step('topic://one')], gid => 'm1');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t', payload => '{"n": 1}'), dtm_step('http://c/')], gid => 'm1');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/1', payload => '{"n": 1}'), dtm_step('http://a/2', payload => '{"n": 1}'), dtm_step('http://c/'), dtm_step('http://b/')], gid => 'm1');
SELECT string_agg(url, ' ' ORDER BY ordinal) FROM dtm.branches WHERE gid = 'm1';
-- the repeat needs no topic any more
SELECT dtm_prepare('msg', 'm2', ARRAY[dtm_step('topic://one')], '{"query_prepared": "http://q/"}');
SELECT dtm_delete_topic('one');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://one')], gid => 'm2');
SELECT dtm_status('m2'), (SELECT string_agg(branch_id || ' ' || url, ' ') FROM dtm.branches WHERE gid = 'm2');
-- whatever has become of the topic since
SELECT dtm_prepare('msg', 'm2b', ARRAY[dtm_step('topic://t')], '{"query_prepared": "http://q/"}');
SELECT dtm_subscribe('t', 'host:1/p.S/M');
SELECT dtm_prepare('msg', 'm2b', ARRAY[dtm_step('topic://t')], '{"query_prepared": "http://q/"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t')], gid => 'm2b');
SELECT dtm_unsubscribe('t', 'host:1/p.S/M');
-- MS-05: nothing is stored
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://one')], gid => 'm3');
SELECT dtm_status('m3');
-- R-44: what is committed counts: gone, and there again
SELECT dtm_subscribe('one', 'http://new/');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://one')], gid => 'm4');
SELECT branch_id, url FROM dtm.branches WHERE gid = 'm4';
-- the URLs have to fit the protocol of the message
SELECT dtm_subscribe('g', 'host:1/p.S/M');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://g')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://g')], gid => 'm5', options => '{"protocol": "grpc"}');
-- the bound of steps counts what comes out
DO $$ BEGIN FOR n IN 1 .. 20 LOOP PERFORM dtm_subscribe('big', 'http://a/' || n); END LOOP; END $$;
SELECT dtm_submit('msg', array_fill(dtm_step('topic://big'), ARRAY[51]));
SELECT dtm_submit('msg', array_fill(dtm_step('topic://big'), ARRAY[50]), gid => 'm6');
SELECT count(*), min(branch_id), max(branch_id) FROM dtm.branches WHERE gid = 'm6';
-- TP-02, TP-03
SELECT dtm_unsubscribe('t', 'http://a/1');
SELECT dtm_unsubscribe('', 'http://a/1');
SELECT dtm_unsubscribe('t', '');
SELECT dtm_unsubscribe('unknown', 'http://a/1');
SELECT dtm_unsubscribe('t', 'http://a/2');
SELECT dtm_unsubscribe('t', 'http://a/3');
SELECT dtm_unsubscribe('t', 'http://a/3');
SELECT topic, version, url FROM dtm.topics WHERE topic = 't';  -- two more for the one that came and went
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t')]);
SELECT dtm_delete_topic('unknown');
SELECT dtm_delete_topic('t');
SELECT dtm_delete_topic('t');
-- what people write of a URL is short, as are names
SELECT dtm_subscribe('long', 'http://a/', repeat('n', 1001));
SELECT dtm_subscribe(repeat('t', 129), 'http://a/');
SELECT dtm_subscribe(repeat('n', 128), 'http://a/', repeat('n', 1000)), dtm_delete_topic(repeat('n', 128));
-- an ordinary user reads them
CREATE ROLE regress_topic_user;
GRANT dtm_user TO regress_topic_user;
SET ROLE regress_topic_user;
SELECT count(*) FROM dtm.topics WHERE topic = 'big';
SELECT dtm_subscribe('big', 'http://a/');
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://one')], gid => 'm7');
RESET ROLE;
TRUNCATE dtm.request, dtm.active, dtm.topic;
DROP ROLE regress_topic_user;
