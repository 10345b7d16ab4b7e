-- What CREATE EXTENSION brings, and what stands in its way.
\set SHOW_CONTEXT never
CREATE SCHEMA dtm_barrier;
CREATE EXTENSION dtm;
-- that of sql/participant.sql
CREATE FUNCTION dtm_barrier.insert_row() RETURNS void LANGUAGE sql AS 'SELECT';
CREATE EXTENSION dtm;
DROP FUNCTION dtm_barrier.insert_row();
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
-- default privileges of whoever creates the extension give nobody anything
CREATE ROLE regress_dtm_bob;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_dtm_bob WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO dtm_user, PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO regress_dtm_bob;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_dtm_bob, dtm_user;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_dtm_bob, dtm_user;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO regress_dtm_bob WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_dtm_bob, dtm_user WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_dtm_bob, dtm_user WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;
CREATE EXTENSION dtm;
CREATE VIEW regress_dtm_members AS
SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS name, a.*
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
       LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
       LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
       LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
       LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
       LEFT JOIN pg_foreign_data_wrapper f ON d.classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = d.objid
       CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, p.proacl, t.typacl, n.nspacl, f.fdwacl)) a
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'dtm'
   AND a.grantee NOT IN (SELECT oid FROM pg_roles WHERE rolname = current_user);
SELECT name, grantee::regrole, privilege_type FROM regress_dtm_members
 WHERE grantee NOT IN ('dtm_user'::regrole, 'dtm_admin'::regrole) OR is_grantable
 ORDER BY name COLLATE "C", grantee::regrole::text COLLATE "C";
-- what our own roles have
SELECT name, privilege_type FROM regress_dtm_members
 WHERE privilege_type <> 'EXECUTE' AND grantee = 'dtm_user'::regrole ORDER BY name COLLATE "C";
-- what an administrator grants is there for good: the next script leaves it
GRANT SELECT ON dtm.active TO regress_dtm_bob;
SELECT dtm.withdraw_default_privileges();
SELECT name, grantee::regrole, privilege_type FROM regress_dtm_members WHERE grantee = 'regress_dtm_bob'::regrole;
DROP VIEW regress_dtm_members;
DROP OWNED BY regress_dtm_bob;
DROP EXTENSION dtm;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM dtm_user, PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM dtm_user;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM dtm_user;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM dtm_user;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM dtm_user, PUBLIC;
DROP ROLE regress_dtm_bob;
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
SELECT pg_describe_object(d.classid, d.objid, coalesce(a.attnum, 0)) AS without_comment
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
       LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
       LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind = 'v'
       LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
       LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'dtm'
   AND (c.relkind IN ('r', 'v')
        OR p.pronamespace = e.extnamespace OR t.typnamespace = e.extnamespace AND t.typelem = 0
        OR d.classid IN ('pg_namespace'::regclass, 'pg_foreign_data_wrapper'::regclass))
   AND (obj_description(d.objid, d.classid::regclass::name) IS NULL OR a.attnum IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL);
-- a publication of all tables is in nobody's way
SELECT c.oid::regclass AS without_identity
  FROM pg_class c
 WHERE c.relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace) AND c.relkind = 'r'
   AND c.relreplident <> 'f'
   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate);
-- the barrier's table is what dtm's SDKs expect
\d dtm_barrier.barrier
-- it can be restored
SELECT c.oid::regclass
  FROM pg_extension e, unnest(e.extconfig) u(id) JOIN pg_class c ON c.oid = u.id
 WHERE e.extname = 'dtm'
 ORDER BY c.oid::regclass::text COLLATE "C";
SELECT state FROM dtm.stat_coordinator;
