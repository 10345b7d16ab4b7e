#!/usr/bin/python3
"""Failover by Patroni and etcd while transactions are under way.

    patroni.py BIN DIRECTORY

Starts etcd and two servers under Patroni with synchronous replication, has clients
submit sagas, kills the leader as a power cut would, lets it come back, and switches
over to it, all while clients go on. What a client was told has to be there, and to have
come to its end, and participants to agree. Prints "ok" and "not ok" lines.
"""
import json
import sys
import time

from checks import check, failed
from patroni_nodes import Clients, Cluster, Node, eventually, http, roles, start_participant, stop_all, switch_over

BIN, DIRECTORY = sys.argv[1:3]
CLIENTS = 4
REFUSED = 7                     # every so manieth saga is refused

cluster = Cluster(BIN, DIRECTORY)
nodes = [Node(cluster, "one"), Node(cluster, "two")]


def submit(cursor, number):
    into = "Refuse" if number % REFUSED == 0 else "TransIn"
    cursor.execute("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, '{}'), dtm_step(%s, '', '{}')], gid => %s)",
                   (f"{busi}/TransOut?delay=0.2", f"{busi}/TransOutRevert", f"{busi}/{into}", f"g{number}"))


clients = Clients(nodes, CLIENTS, 0.01, submit)


def expected(gid):
    return "failed" if int(gid[1:]) % REFUSED == 0 else "succeed"


def examine(leader, what):
    """Everything has come to its end, and everybody agrees."""
    eventually(lambda: leader.query("SELECT count(*) FROM dtm.active")[0][0] == 0, f"{what}: the end of all")
    status = dict(leader.query("SELECT gid, status FROM dtm.transactions"))
    lost = [number for number in clients.acknowledged if f"g{number}" not in status]
    check(not lost, f"{what}: all {len(clients.acknowledged)} commits that clients were told of are there", lost[:5])
    wrong = [gid for gid, ended in status.items() if ended != expected(gid)]
    check(not wrong, f"{what}: each of {len(status)} has ended as it should", wrong[:5])
    calls = {}
    for call in json.loads(http(f"{busi}/_log")):
        calls.setdefault(call["query"].get("gid"), []).append(call["path"])
    unknown = [gid for gid in calls if gid and gid not in status]
    check(not unknown, f"{what}: nobody was called for what is not there", unknown[:5])
    not_done = [gid for gid, ended in status.items()
                if "/TransOut" not in calls.get(gid, []) or
                ("/TransIn" in calls[gid]) != (ended == "succeed") or
                ("/TransOutRevert" in calls[gid]) != (ended == "failed")]
    check(not not_done, f"{what}: each was called for, or undone", not_done[:5])
    repeated = sum(len(paths) != len(set(paths)) for paths in calls.values())
    print(f"# {what}: {repeated} of {len(calls)} transactions had a call repeated", flush=True)


def main():
    cluster.start_etcd()
    for node in nodes:
        node.start()
    leader, standby = eventually(lambda: roles(nodes), "a leader and a synchronous standby")
    leader.query("CREATE EXTENSION dtm")
    eventually(lambda: leader.coordinator_is("running"), "a coordinator")
    eventually(lambda: standby.coordinator_is("standby"), "the standby to have it")
    http(f"{busi}/_reply", {"path": "/Refuse", "replies": [{"status": 409}], "forever": True})

    clients.start()
    eventually(lambda: leader.query("SELECT count(*) > 200 FROM dtm.finished")[0][0], "some work")
    begin = time.monotonic()
    leader.kill()
    eventually(lambda: standby.coordinator_is("running"), "the promoted one's coordinator")
    print(f"# failover: {time.monotonic() - begin:.1f} s from the kill to the new coordinator", flush=True)
    clients.go_on("the failover")
    check(standby.query("SELECT pg_is_in_recovery()") == [(False,)], "failover: the standby is the leader")

    leader.start()
    now = eventually(lambda: roles(nodes), "the old leader as a standby")
    check(now == [standby, leader], "the old leader comes back as a standby")
    check(leader.coordinator_is("standby"), "and drives nothing")

    begin = time.monotonic()
    switch_over(standby, leader)
    eventually(lambda: leader.coordinator_is("running"), "the coordinator after the switch")
    print(f"# switchover: {time.monotonic() - begin:.1f} s to the new coordinator", flush=True)
    clients.go_on("the switchover")
    now = eventually(lambda: roles(nodes), "a leader and a synchronous standby again")
    check(now == [leader, standby], "switchover: they have changed places")
    clients.stop()
    examine(leader, "in the end")
    running = [n.name for n in nodes if n.coordinator_is("running")]
    check(running == [leader.name], "one coordinator runs")


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
