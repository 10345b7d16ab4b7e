#!/usr/bin/python3
"""Failover by Patroni in a cluster of Citus while orders come in.

    citus_patroni.py BIN DIRECTORY

Starts etcd and four servers under Patroni with synchronous replication: the coordinator
node and a worker, each with a standby. Clients place orders with a saga each (place_order()
of docs/citus.md), while the worker's leader is killed as a power cut would, comes back and
is switched over to, and the coordinator node's leader is killed. Each order that a client
was told of has to be there, each order to have its saga and each saga its order, and each
to have come to its end. Prints "ok" and "not ok" lines.
"""
import json
import sys
import time

from checks import check, failed
from patroni_nodes import Clients, Cluster, Node, eventually, http, roles, start_participant, stop_all, switch_over

BIN, DIRECTORY = sys.argv[1:3]
CLIENTS = 3
REFUSED = 7                     # every so manieth saga is refused
SETTINGS = {"citus.node_conninfo": "sslmode=disable", "citus.enable_statistics_collection": "off"}

cluster = Cluster(BIN, DIRECTORY)
heads = [Node(cluster, f"head{i}", "citus,dtm", 0, **SETTINGS) for i in (1, 2)]
workers = [Node(cluster, f"worker{i}", "citus,dtm", 1, **SETTINGS) for i in (1, 2)]
nodes = heads + workers

PLACE_ORDER = """CREATE FUNCTION place_order(oid bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO orders (id) VALUES (oid);
  RETURN dtm_submit('saga', ARRAY[
    dtm_step('%s/TransOut?delay=0.2', '%s/TransOutRevert', '{}'),
    dtm_step('%s/' || CASE WHEN oid %% %d = 0 THEN 'Refuse' ELSE 'TransIn' END, '', '{}')
  ], 'order-' || oid);
END $$"""


clients = Clients(heads, CLIENTS, 0.02, lambda cursor, order: cursor.execute(f"SELECT place_order({order})"))


def is_primary(node):
    return node.query("SELECT pg_is_in_recovery()") == [(False,)]


def fail_over(leader, standby, others, what):
    """The leader is gone; the standby leads, clients go on; then the old one is its standby."""
    known = {n.name: n.query("SELECT tag FROM dtm.home") for n in (standby, others[0])}
    begin = time.monotonic()
    leader.kill()
    eventually(lambda: is_primary(standby) and standby.coordinator_is("running"), f"{what}: the promoted one's coordinator")
    print(f"# {what}: {time.monotonic() - begin:.1f} s from the kill to the new coordinator", flush=True)
    clients.go_on(what)
    check({n.name: n.query("SELECT tag FROM dtm.home") for n in (standby, others[0])} == known, f"{what}: nodes have the tags that they had")
    check(others[0].coordinator_is("running"), f"{what}: the other node's coordinator runs")
    leader.start()
    check(eventually(lambda: roles([standby, leader]), "the old leader as a standby") == [standby, leader], f"{what}: the old leader comes back as a standby")
    check(leader.coordinator_is("standby"), f"{what}: and drives nothing")


def examine(head, worker):
    eventually(lambda: head.query("SELECT count(*) FROM dtm.cluster_transactions WHERE finished IS NULL") == [(0,)], "the end of all sagas")
    orders = {row[0] for row in head.query("SELECT id FROM orders")}
    sagas = [row for node in (head, worker) for row in node.query("SELECT gid, status FROM dtm.transactions")]
    status = {int(gid.partition("-")[2]): status for gid, status in sagas}
    lost = clients.acknowledged - orders
    check(not lost, f"all {len(clients.acknowledged)} orders that clients were told of are there", sorted(lost)[:5])
    check(orders == set(status) and len(sagas) == len(orders), f"each of {len(orders)} orders has its saga, and each saga its order", sorted(orders ^ set(status))[:5])
    wrong = [order for order, ended in status.items() if ended != ("failed" if order % REFUSED == 0 else "succeed")]
    check(not wrong, "each saga has ended as it should", wrong[:5])
    calls = {}
    for call in json.loads(http(f"{busi}/_log")):
        if "gid" in call["query"]:
            calls.setdefault(int(call["query"]["gid"].partition("-")[2]), []).append(call["path"])
    check(not set(calls) - orders, "nobody was called for an order that is not there", sorted(set(calls) - orders)[:5])
    not_done = [order for order, ended in status.items()
                if "/TransOut" not in calls.get(order, []) or
                ("/TransIn" in calls[order]) != (ended == "succeed") or
                ("/TransOutRevert" in calls[order]) != (ended == "failed")]
    check(not not_done, "each was called for, or undone", not_done[:5])


def main():
    cluster.start_etcd()
    for node in nodes:
        node.start()
    (head, head_standby), (worker, worker_standby) = (
        eventually(lambda: roles(group), "leaders and synchronous standbys") for group in (heads, workers))
    eventually(lambda: head.query("SELECT count(*) FROM pg_dist_node WHERE noderole = 'primary'") == [(2,)], "Patroni to add the worker")
    head.query("CREATE EXTENSION dtm")
    check(len(head.query("SELECT * FROM dtm_citus_setup()")) == 2, "dtm is set up on both nodes")
    for node in (head, worker):
        eventually(lambda: node.coordinator_is("running"), "a coordinator on each node")
    http(f"{busi}/_reply", {"path": "/Refuse", "replies": [{"status": 409}], "forever": True})
    head.query("CREATE TABLE orders (id bigint PRIMARY KEY)")
    head.query("SELECT create_distributed_table('orders', 'id', shard_count => 4)")
    head.query(PLACE_ORDER % (busi, busi, busi, REFUSED))
    head.query("SELECT create_distributed_function('place_order(bigint)', 'oid', colocate_with := 'orders')")

    clients.start()
    clients.go_on("the start")
    check(worker.query("SELECT count(*) > 0 FROM dtm.request")[0][0], "the worker has the sagas of its orders")

    fail_over(worker, worker_standby, [head], "failover of the worker")
    switch_over(worker_standby, worker)
    eventually(lambda: is_primary(worker) and worker.coordinator_is("running"), "the coordinator after the switch")
    clients.go_on("the switchover")
    check(eventually(lambda: roles(workers), "a standby again") == [worker, worker_standby], "switchover of the worker: they have changed places")
    fail_over(head, head_standby, [worker], "failover of the coordinator node")

    clients.stop()
    examine(head_standby, worker)
    check([n.name for n in nodes if n.coordinator_is("running")] == sorted([head_standby.name, worker.name]), "each node has one coordinator")


participant, busi = start_participant()
try:
    main()
except TimeoutError as error:
    check(False, str(error))
finally:
    clients.stop()
    stop_all(nodes)
    participant.kill()
sys.exit(bool(failed))
