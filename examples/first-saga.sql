CREATE TABLE account (name text PRIMARY KEY, balance int CHECK (balance >= 0));
INSERT INTO account VALUES ('alice', 100), ('bob', 100);

CREATE FUNCTION move(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE public.account SET balance = balance + (payload ->> op)::int WHERE name = payload ->> 'name';
EXCEPTION WHEN check_violation THEN
  RAISE 'not enough money' USING ERRCODE = 'DT409';   -- permanent failure
END $$;

SELECT dtm_submit('saga', ARRAY[
  dtm_step('sql:public.move', 'sql:public.move', '{"name": "bob", "action": 30, "compensate": -30}'),
  dtm_step('sql:public.move', 'sql:public.move', '{"name": "alice", "action": -30, "compensate": 30}')],
  gid => 'transfer-1');
SELECT dtm_wait('transfer-1');
SELECT * FROM account ORDER BY name;

-- 200 are more than alice has: what bob got is taken back
SELECT dtm_submit('saga', ARRAY[
  dtm_step('sql:public.move', 'sql:public.move', '{"name": "bob", "action": 200, "compensate": -200}'),
  dtm_step('sql:public.move', 'sql:public.move', '{"name": "alice", "action": -200, "compensate": 200}')],
  gid => 'transfer-2');
SELECT dtm_wait('transfer-2');
SELECT * FROM account ORDER BY name;
SELECT branch_id, op, result FROM dtm.calls WHERE gid = 'transfer-2' ORDER BY started;
