-- What CREATE EXTENSION brings, and what stands in its way.
\set SHOW_CONTEXT never
CREATE SCHEMA dtm_barrier;
CREATE EXTENSION dtm;
DROP SCHEMA dtm_barrier;
CREATE SCHEMA dtm;
CREATE EXTENSION dtm;
DROP SCHEMA dtm;
CREATE SCHEMA coordination;
CREATE EXTENSION dtm SCHEMA coordination;
SELECT coordination.dtm_submit('saga', gid => 'elsewhere');
DROP EXTENSION dtm;
DROP SCHEMA coordination;
-- a setting that dtm does not have is an error, not a wish that nobody hears
SET dtm.retry_intervall = '1s';
CREATE EXTENSION dtm;
-- nothing for PUBLIC, and a comment on all that users call
SELECT p.oid::regprocedure AS granted_to_public
  FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a,
       pg_depend d
 WHERE d.objid = p.oid AND d.deptype = 'e'
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dtm')
   AND a.grantee = 0;
SELECT c.oid::regclass AS granted_to_public
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace)
   AND a.grantee = 0;
SELECT p.oid::regprocedure AS without_comment
  FROM pg_proc p
 WHERE p.proname LIKE 'dtm\_%' AND p.pronamespace = 'public'::regnamespace
   AND obj_description(p.oid, 'pg_proc') IS NULL;
-- the barrier's table is what dtm's SDKs expect
\d dtm_barrier.barrier
-- it can be restored
SELECT c.oid::regclass
  FROM pg_extension e, unnest(e.extconfig) u(id) JOIN pg_class c ON c.oid = u.id
 WHERE e.extname = 'dtm'
 ORDER BY c.oid::regclass::text COLLATE "C";
SELECT state FROM dtm.stat_coordinator;
