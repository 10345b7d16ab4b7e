-- What asks all nodes of Citus, on a single server: without Citus, an error says so (single.out);
-- with a Citus that has no nodes, there is nothing to be found (single_1.out).
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE ROLE regress_dtm_exporter IN ROLE dtm_monitor;
CREATE ROLE regress_dtm_user IN ROLE dtm_user;
SET ROLE regress_dtm_exporter;
SELECT count(*) FROM dtm.cluster_metrics;
SELECT count(*) FROM dtm.cluster_coordinators;
SELECT count(*) FROM dtm.cluster_transactions;
SET ROLE regress_dtm_user;
SELECT count(*) FROM dtm.cluster_transactions;
SELECT count(*) FROM dtm.cluster_stuck;
SELECT dtm_cluster_status('a');
SELECT dtm_cluster_wait('a', '0 s');
SELECT dtm_cluster_run('a', 'gid');
SELECT * FROM dtm_citus_setup();
RESET ROLE;
SELECT * FROM dtm_citus_setup();
DROP ROLE regress_dtm_exporter, regress_dtm_user;
