#!/usr/bin/python3
"""A workflow in plain Python: a transfer, run by this program, and continued after a crash
from where it was. docs/workflows.md describes the requests to the gateway.

    python3 examples/workflow.py [PORT [GATEWAY [BANK]]]

POST /transfer?gid=G with {"from": "alice", "to": "bob", "amount": 30} runs it.
"""
import base64
import http.server
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

PORT, GATEWAY, BANK = sys.argv[1:] + ["8091", "http://127.0.0.1:36789", "http://127.0.0.1:8090"][len(sys.argv) - 1:]


class Refused(Exception):
    """A step says no for good."""


def post(url, content):
    with urllib.request.urlopen(url, json.dumps(content).encode(), timeout=10) as response:
        return json.loads(response.read())


def dtm(request, content):
    return post(f"{GATEWAY}/api/dtmsvr/{request}", content)


class Workflow:
    def __init__(self, name, gid, data):
        encoded = base64.b64encode(json.dumps(data).encode()).decode()
        self.request = {"gid": gid, "trans_type": "workflow", "protocol": "http",
                        "query_prepared": f"http://127.0.0.1:{PORT}/resume",
                        "custom_data": json.dumps({"name": name, "data": encoded})}
        stored = dtm("prepareWorkflow", self.request)
        self.status = stored["transaction"]["status"]
        self.done = {(row["branch_id"], row["op"]): row["status"] for row in stored["progresses"]}

    def call(self, branch_id, op, url, content):
        """Makes a call, or knows its result from an earlier run."""
        if (branch_id, op) not in self.done:
            call = {"gid": self.request["gid"], "trans_type": "workflow", "branch_id": branch_id, "op": op}
            status = "succeed"
            try:
                post(f"{BANK}{url}?{urllib.parse.urlencode(call)}", content)
            except urllib.error.HTTPError as error:     # all but 409: the callback tries again later
                if error.code != 409:
                    raise
                status = "failed"
            dtm("registerBranch", {**call, "status": status})
            self.done[branch_id, op] = status
        if self.done[branch_id, op] == "failed":
            raise Refused(url)

    def finish(self, status, reason=""):
        dtm("submit", {**self.request, "req_extra": {"status": status, "rollback_reason": reason}})


def transfer(gid, data):
    workflow = Workflow("transfer", gid, data)
    if workflow.status != "prepared":
        return workflow.status      # it has ended in an earlier run
    try:
        workflow.call("01", "action", "/withdraw", {"account": data["from"], "amount": data["amount"]})
        workflow.call("02", "action", "/deposit", {"account": data["to"], "amount": data["amount"]})
    except Refused as refusal:
        if workflow.done["01", "action"] == "succeed":
            workflow.call("01", "compensate", "/withdraw/undo", {"account": data["from"], "amount": data["amount"]})
        workflow.finish("failed", f"{refusal} was refused")
        return "failed"
    workflow.finish("succeed")
    return "succeed"


def read(query, body):
    """The gid and the data of a request; an error says what is missing."""
    data = json.loads(body)
    for key in "from", "to", "amount":
        if not isinstance(data, dict) or key not in data:
            raise ValueError(f'"{key}" is missing in the body')
    gid = dict(urllib.parse.parse_qsl(query)).get("gid")
    if gid is None:
        raise ValueError('"gid" is missing in the URL')
    return gid, data


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):      # from a client to /transfer, from the coordinator to /resume
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, text = 200, transfer(*read(self.path.partition("?")[2], body))
        except ValueError as error:
            status, text = 400, str(error)
        except OSError as error:    # a service is down: the coordinator calls /resume later
            status, text = 503, f"to be continued: {error}"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text) + 1))
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())


print(f"workflows: http://127.0.0.1:{PORT}", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Service).serve_forever()
