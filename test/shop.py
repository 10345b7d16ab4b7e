#!/usr/bin/python3
"""Three services that know nothing of dtm, for t/040_any_service.pl and docs/any-service.md.

    shop.py

Prints three ports: of payments, stock and shipping. They are REST APIs as providers have them, and
refuse what they do not know: parameters in the query, bodies where there is none, other content types.

payments (Authorization: Bearer test-key; forms; Idempotency-Key for each POST)
    POST   /v1/charges          amount, currency, source, description: 201 {"id": "ch_1", ...}; 402 for source
                                tok_declined, 422 for an amount that is none, 429 with Retry-After if it is busy
    DELETE /v1/charges/{id}     refunds it: 200, and again 200; 404 if there is no such charge
stock (JSON)
    POST   /reservations        {"sku": s, "quantity": n}: 201 {"id": n, ...}; 422 if there is not enough of it
    DELETE /reservations/{id}   204, or 404 if there is none
shipping (JSON)
    PUT    /shipments/{order}   {"address": s}: 201, or 200 if it is there already; 422 for address nowhere
    DELETE /shipments/{order}   204, or 404 if there is none

Each has
    POST /_set                  {"busy": n, "retry_after": s, "down": n}: the next n requests get 429, or no
                                response at all
    GET  /_state                what it has, and its requests
"""
import json
import threading
import urllib.parse

import service


class Service:
    """What the three have in common: one lock, faults, a log."""

    def __init__(self):
        self.lock = threading.Lock()
        self.faults = {"busy": 0, "down": 0, "retry_after": 1}
        self.requests = []
        self.items = {}

    def state(self):
        return {"items": self.items, "requests": self.requests}

    def handle(self, request, path, query, body):
        if path == "/_set":
            self.faults.update(json.loads(body))
            return 200, {}
        if path == "/_state":
            return 200, self.state()
        self.requests.append({"method": request.command, "path": path, "body": body.decode(),
                              "key": request.headers.get("Idempotency-Key")})
        if self.faults["down"]:
            self.faults["down"] -= 1
            return None
        if self.faults["busy"]:
            self.faults["busy"] -= 1
            return 429, {"error": "rate_limit"}, [("Retry-After", str(self.faults["retry_after"]))]
        if query:
            return 400, {"error": "unknown_parameter", "parameters": sorted(query)}
        if body and request.command == "DELETE":
            return 400, {"error": "unexpected_body"}
        return self.call(request, path, body)

    def call(self, request, path, body):
        raise NotImplementedError


class Payments(Service):
    FIELDS = {"amount", "currency", "source", "description"}

    def __init__(self):
        super().__init__()
        self.answers = {}       # by Idempotency-Key

    def call(self, request, path, body):
        if request.headers.get("Authorization") != "Bearer test-key":
            return 401, {"error": "unauthorized"}
        if request.command == "POST" and path == "/v1/charges":
            key = request.headers.get("Idempotency-Key")
            if not key:
                return 400, {"error": "missing_idempotency_key"}
            if key not in self.answers:
                self.answers[key] = self.charge(request, body)
            return self.answers[key]
        if request.command == "DELETE" and path.startswith("/v1/charges/"):
            charge = self.items.get(path.rpartition("/")[2])
            if charge is None:
                return 404, {"error": "no_such_charge"}
            charge["refunded"] = True
            return 200, charge
        return 404, {"error": "no_such_resource"}

    def charge(self, request, body):
        if request.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            return 415, {"error": "unsupported_media_type"}
        form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        if set(form) - self.FIELDS:
            return 400, {"error": "unknown_parameter", "parameters": sorted(set(form) - self.FIELDS)}
        if not form.get("amount", "").isdigit() or "currency" not in form:
            return 422, {"error": "invalid_amount"}
        if form.get("source") == "tok_declined":
            return 402, {"error": {"code": "card_declined"}}
        charge = {"id": f"ch_{len(self.items) + 1}", "amount": int(form["amount"]),
                  "currency": form["currency"], "refunded": False}
        self.items[charge["id"]] = charge
        return 201, charge


class Stock(Service):
    def __init__(self):
        super().__init__()
        self.left = {"book": 2}
        self.keys = {}

    def state(self):
        return {**super().state(), "left": self.left}

    def call(self, request, path, body):
        if request.command == "POST" and path == "/reservations":
            if request.headers.get("Content-Type") != "application/json":
                return 415, {"error": "unsupported_media_type"}
            key = request.headers.get("Idempotency-Key")
            if key in self.keys:
                return 201, self.items[self.keys[key]]
            wanted = json.loads(body)
            if self.left.get(wanted["sku"], 0) < wanted["quantity"]:
                return 422, {"error": "out_of_stock"}
            self.left[wanted["sku"]] -= wanted["quantity"]
            self.keys[key] = str(len(self.items) + 1)
            self.items[self.keys[key]] = {"id": len(self.items) + 1, **wanted}
            return 201, self.items[self.keys[key]]
        if request.command == "DELETE" and path.startswith("/reservations/"):
            item = self.items.get(path.rpartition("/")[2])
            if item is None or item.get("released"):
                return 404, {"error": "no_such_reservation"}
            self.left[item["sku"]] += item["quantity"]
            item["released"] = True
            return 204, None
        return 404, {"error": "no_such_resource"}


class Shipping(Service):
    def call(self, request, path, body):
        order = urllib.parse.unquote(path.rpartition("/")[2])
        if not path.startswith("/shipments/") or not order:
            return 404, {"error": "no_such_resource"}
        if request.command == "PUT":
            shipment = json.loads(body)
            if shipment["address"] == "nowhere":
                return 422, {"error": "invalid_address", "title": "FAILURE Is Not an Option"}
            known = order in self.items
            self.items[order] = shipment
            return 200 if known else 201, shipment
        if request.command == "DELETE":
            return (204, None) if self.items.pop(order, None) else (404, {"error": "no_such_shipment"})
        return 405, {"error": "method_not_allowed"}


def handler_of(served):
    class Handler(service.Handler):
        def respond(self, path, query, body):
            with served.lock:
                answer = served.handle(self, path, query, body)
            if answer is None:
                return self.hang_up()
            status, content, headers = (*answer, ())[:3]
            return self.answer(status, "" if content is None else json.dumps(content), headers)

        do_GET = do_PUT = do_PATCH = do_DELETE = service.Handler.do_POST

    return Handler


if __name__ == "__main__":
    service.run_until_told(*(service.serve(handler_of(served)) for served in (Payments(), Stock(), Shipping())))
