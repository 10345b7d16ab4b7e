-- The state table of the calls (§1.3) for every type: if this fails, a repeated
-- request does something twice, loses something, or changes what has ended.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
-- brings a transaction into a status
CREATE FUNCTION make(type text, gid text, status text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  steps dtm_step[] := CASE WHEN type IN ('saga', 'msg') THEN ARRAY[dtm_step('http://a/1', payload => '1'), dtm_step('http://a/2')] ELSE '{}' END;
  options jsonb := CASE WHEN type = 'workflow' THEN '{"name": "w"}' ELSE '{}' END;
BEGIN
  IF status = 'none' THEN RETURN; END IF;
  PERFORM dtm_prepare(type, gid, steps, options);
  IF type IN ('tcc', 'xa') THEN
    PERFORM dtm_register_branch(jsonb_build_object('gid', gid, 'trans_type', type, 'branch_id', '01', 'url', 'http://a/', 'confirm', 'http://a/', 'cancel', 'http://a/'));
  ELSIF type = 'workflow' THEN
    PERFORM dtm_register_branch(jsonb_build_object('gid', gid, 'trans_type', type, 'branch_id', '01', 'op', 'action', 'status', 'succeed'));
  END IF;
  IF status = 'submitted' THEN
    PERFORM dtm_submit(type, gid => gid);
  ELSIF status = 'aborting' THEN
    UPDATE dtm.active SET status = 'a' WHERE id = (SELECT r.id FROM dtm.request r WHERE r.gid = make.gid);
  ELSIF status IN ('succeed', 'failed') THEN
    PERFORM dtm_force_stop(gid);
    UPDATE dtm.finished f SET status = CASE make.status WHEN 'succeed' THEN 'S' ELSE 'F' END WHERE f.id = (SELECT r.id FROM dtm.request r WHERE r.gid = make.gid);
  END IF;
END $$;
-- makes a call, and says what the status is then, or the error
CREATE FUNCTION try(call text, type text, gid text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  steps dtm_step[] := CASE WHEN type IN ('saga', 'msg') THEN ARRAY[dtm_step('http://a/1', payload => '1'), dtm_step('http://a/2')] ELSE '{}' END;
  other dtm_step[] := CASE WHEN type IN ('saga', 'msg') THEN ARRAY[dtm_step('http://a/1', payload => '2'), dtm_step('http://a/2')] ELSE '{}' END;
  options jsonb := CASE WHEN type = 'workflow' THEN '{"name": "w", "status": "succeed"}' ELSE '{}' END;
  branch jsonb := jsonb_build_object('gid', gid, 'trans_type', type, 'branch_id', '02', 'url', 'http://a/', 'confirm', 'http://a/', 'cancel', 'http://a/', 'op', 'action', 'status', 'failed');
BEGIN
  CASE call
    WHEN 'prepare' THEN PERFORM dtm_prepare(type, gid, steps, options);
    WHEN 'prepare, other steps' THEN PERFORM dtm_prepare(type, gid, other, options);
    WHEN 'submit' THEN PERFORM dtm_submit(type, gid => gid, options => options);
    WHEN 'submit, same steps' THEN PERFORM dtm_submit(type, steps, gid, options);
    WHEN 'submit, other steps' THEN PERFORM dtm_submit(type, other, gid, options);
    WHEN 'submit, other type' THEN PERFORM dtm_submit(CASE type WHEN 'saga' THEN 'tcc' ELSE 'saga' END, gid => gid);
    WHEN 'submit twice' THEN PERFORM dtm_submit(type, steps, gid, options); PERFORM dtm_submit(type, steps, gid, options);
    WHEN 'abort' THEN PERFORM dtm_abort(gid);
    WHEN 'abort twice' THEN PERFORM dtm_abort(gid); PERFORM dtm_abort(gid);
    WHEN 'register' THEN PERFORM dtm_register_branch(branch);
    WHEN 'force stop' THEN PERFORM dtm_force_stop(gid);
    WHEN 'prepareWorkflow' THEN PERFORM dtm_prepare_workflow(jsonb_build_object('gid', gid, 'trans_type', 'workflow', 'custom_data', '{"name": "w"}'));
  END CASE;
  RETURN dtm_status(gid);
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
CREATE TABLE outcome AS
  SELECT t.type, c.call, s.status, format('%s %s %s', t.type, c.call, s.status) AS gid, NULL::text AS result, cn
    FROM unnest(ARRAY['saga', 'msg', 'tcc', 'xa', 'workflow']) WITH ORDINALITY t(type, tn)
         CROSS JOIN unnest(ARRAY['prepare', 'prepare, other steps', 'submit', 'submit, same steps', 'submit, other steps', 'submit, other type', 'submit twice', 'abort', 'abort twice', 'register', 'force stop', 'prepareWorkflow']) WITH ORDINALITY c(call, cn)
         CROSS JOIN unnest(ARRAY['none', 'prepared', 'submitted', 'aborting', 'succeed', 'failed']) WITH ORDINALITY s(status, sn)
   WHERE NOT (t.type = 'workflow' AND s.status IN ('submitted', 'aborting')) AND NOT (t.type = 'msg' AND s.status = 'aborting')
   ORDER BY tn, cn, sn;
DO $$
DECLARE o record;
BEGIN
  FOR o IN SELECT * FROM outcome LOOP
    PERFORM make(o.type, o.gid, o.status);
    UPDATE outcome SET result = try(o.call, o.type, o.gid) WHERE gid = o.gid;
  END LOOP;
END $$;
SELECT type, call, max(result) FILTER (WHERE status = 'none') AS none, max(result) FILTER (WHERE status = 'prepared') AS prepared,
       max(result) FILTER (WHERE status = 'submitted') AS submitted, max(result) FILTER (WHERE status = 'aborting') AS aborting,
       max(result) FILTER (WHERE status = 'succeed') AS succeed, max(result) FILTER (WHERE status = 'failed') AS failed
  FROM outcome GROUP BY type, call ORDER BY array_position(ARRAY['saga', 'msg', 'tcc', 'xa', 'workflow'], type), min(cn);
-- whatever was said, what was stored first is what is there: steps, branches
SELECT o.type, o.call, o.status, string_agg(b.branch_id || ' ' || b.op || ' ' || coalesce(b.url, ''), ', ' ORDER BY b.ordinal) AS branches
  FROM outcome o LEFT JOIN dtm.branches b USING (gid)
 WHERE o.status <> 'none' AND o.result !~ '^[A-Z0-9]{5}$' AND o.call <> 'register'
 GROUP BY 1, 2, 3
HAVING string_agg(b.branch_id || ' ' || b.op || ' ' || coalesce(b.url, ''), ', ' ORDER BY b.ordinal) IS DISTINCT FROM
       CASE o.type WHEN 'saga' THEN '01 compensate , 01 action http://a/1, 02 compensate , 02 action http://a/2'
                   WHEN 'msg' THEN '01 action http://a/1, 02 action http://a/2'
                   WHEN 'tcc' THEN '01 cancel http://a/, 01 confirm http://a/'
                   WHEN 'xa' THEN '01 rollback http://a/, 01 commit http://a/'
                   ELSE '01 action ' END;
SELECT count(*) - count(DISTINCT gid) AS doubles FROM dtm.request;
DROP TABLE outcome;
DROP FUNCTION make;
DROP FUNCTION try;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
