"""A card company: a REST API as such companies have it. It knows nothing of dtm, and the shop cannot change it.

POST   /charges       a form with amount, currency, source: 201 {"id": "ch_1", ...}; 402 if the card is declined; 429
                      with Retry-After if it is busy. The same Idempotency-Key gets the same response
DELETE /charges/ID    refunds it: 200; 404 if there is no such charge

It keeps all in memory. /demo is for the page: what it has, and a button that makes it busy.
"""
import http.server
import json
import os
import threading
import urllib.parse

lock = threading.Lock()
charges = {}        # by id
answers = {}        # by Idempotency-Key
PARAMETERS = {"amount", "currency", "source"}
busy = 0            # number of requests that will get 429


def charge(key, body):
    if key not in answers:
        form = dict(urllib.parse.parse_qsl(body))
        missing = PARAMETERS - set(form)
        unknown = set(form) - PARAMETERS
        if missing or unknown:
            problem = f"Missing parameter: {min(missing)}." if missing else f"Unknown parameter: {min(unknown)}."
            answers[key] = 400, {"error": {"message": problem}}
        elif not form["amount"].isdigit():
            answers[key] = 400, {"error": {"message": "Not a number: amount."}}
        elif form["source"] == "tok_declined":
            answers[key] = 402, {"error": {"code": "card_declined", "message": "Your card was declined."}}
        else:
            made = {"id": f"ch_{len(charges) + 1}", "amount": int(form["amount"]), "refunded": False}
            charges[made["id"]] = made
            answers[key] = 201, made
    return answers[key]


def refund(number):
    if number not in charges:
        return 404, {"error": {"message": "No such charge."}}
    charges[number]["refunded"] = True
    return 200, charges[number]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self, status, content, **headers):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def handle_request(self):
        global busy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with lock:
            if self.path == "/demo":
                busy = json.loads(body)["busy"] if body else busy
                self.respond(200, {"charges": list(charges.values()), "busy": busy})
            elif self.headers.get("Authorization") != "Bearer test-key":
                self.respond(401, {"error": {"message": "Who are you?"}})
            elif busy:
                busy -= 1
                self.respond(429, {"error": {"message": "Too many requests."}}, Retry_After=1)
            elif self.command == "POST" and self.path == "/charges":
                self.respond(*charge(self.headers["Idempotency-Key"], body))
            elif self.command == "DELETE" and self.path.startswith("/charges/"):
                self.respond(*refund(self.path.rpartition("/")[2]))
            else:
                self.respond(404, {"error": {"message": "No such resource."}})

    do_GET = do_POST = do_DELETE = handle_request

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()
