-- A trigger on one of dtm's tables, whichever it is, and nothing on the others.  If this
-- fails, it runs as their owner with the search path of whoever calls.
\set VERBOSITY terse
SET client_min_messages = warning;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.act, dtm.lane, dtm.dead_letter;
CREATE SCHEMA regress_evil;
CREATE TABLE regress_dtm_seen ("table" text, path text);
CREATE FUNCTION regress_dtm_see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.regress_dtm_seen VALUES (TG_TABLE_NAME, pg_catalog.current_setting('search_path'));
  RETURN CASE WHEN TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN OLD ELSE NEW END;
END $$;
DO $$
DECLARE
  t text;
  steps jsonb := '[{"name": "a", "action": "http://127.0.0.1:9/", "complete_within": 60}]';
BEGIN
  FOR t IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'dtm'::regnamespace AND c.relkind = 'r' ORDER BY 1 LOOP
    EXECUTE format('CREATE TRIGGER home_changed_by BEFORE INSERT OR UPDATE OR DELETE ON dtm.%I FOR EACH ROW EXECUTE FUNCTION regress_dtm_see()', t);
    SET LOCAL search_path = regress_evil, pg_catalog, public;
    PERFORM public.dtm_submit('msg', steps, t || 1, '{"lane": "x", "results": true}');
    PERFORM public.dtm_submit('msg', steps, t || 2, '{"lane": "x"}');
    PERFORM public.dtm_edit_step(t || 2, '01', '{"action": "http://127.0.0.1:9/else"}');
    PERFORM public.dtm_complete(t || 1, 'a', result => '{"id": 1}');
    PERFORM public.dtm_force_stop(t || 2);
    PERFORM public.dtm_subscribe('news', 'http://127.0.0.1:9/');
    PERFORM public.dtm_unsubscribe('news', 'http://127.0.0.1:9/');
    PERFORM public.dtm_pause();
    PERFORM public.dtm_resume();
    RESET search_path;
    EXECUTE format('DROP TRIGGER home_changed_by ON dtm.%I', t);
  END LOOP;
END $$;
-- those that only the coordinator or the gateway writes are not here
SELECT "table", string_agg(DISTINCT path, ' and ') AS paths FROM regress_dtm_seen GROUP BY 1 ORDER BY 1;
-- the name of the trigger of dtm.home makes no other trigger one of dtm's
TRUNCATE regress_dtm_seen;
CREATE TRIGGER home_changed BEFORE INSERT ON dtm.request FOR EACH ROW EXECUTE FUNCTION regress_dtm_see();
CREATE TRIGGER home_changed BEFORE INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION regress_dtm_see();
SET search_path = regress_evil, pg_catalog, public;
SELECT dtm_submit('msg', '[{"action": "http://127.0.0.1:9/"}]', 'named');
SELECT dtm_barrier('saga', 'named', '01', 'action');
RESET search_path;
SELECT * FROM regress_dtm_seen ORDER BY 1;
DROP TRIGGER home_changed ON dtm.request;
DROP TRIGGER home_changed ON dtm_barrier.barrier;
-- a default that was added to a column counts, in whichever transaction
ALTER TABLE dtm.active ALTER rollback_reason SET DEFAULT 'by default';
SELECT dtm_submit('msg', '[{"action": "http://127.0.0.1:9/"}]', 'committed');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT dtm_submit('msg', '[{"action": "http://127.0.0.1:9/"}]', 'serializable');
COMMIT;
SELECT r.gid, a.rollback_reason FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid IN ('committed', 'serializable') ORDER BY 1;
ALTER TABLE dtm.active ALTER rollback_reason DROP DEFAULT;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.act, dtm.lane, dtm_barrier.barrier;
DROP FUNCTION regress_dtm_see();
DROP TABLE regress_dtm_seen;
DROP SCHEMA regress_evil;
