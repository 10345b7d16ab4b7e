#!/usr/bin/python3
"""A collector of spans that is strict: OTLP over HTTP, in JSON.

    collector.py [PORT]

Prints its port. What is sent to it has to be an ExportTraceServiceRequest of opentelemetry-proto in
the JSON mapping of OTLP: no field that the protocol does not have, each of its type, ids in
hexadecimal digits, enums as numbers, numbers of 64 bits as strings. Anything else is a problem, and
is answered with 400.

    POST <prefix>/v1/traces  takes spans
    POST /_answer            [{"status": ..., "body": ..., "headers": {...}, "hang": true}, ...]: the
                             answers to the next requests; the last one stays if it has "stay"
    GET  /_spans             all spans that were taken, each with "resource", "scope", "path" and "headers"
    GET  /_problems          what was wrong
    GET  /_requests          how many requests there were
    POST /_clear
"""
import json
import re
import sys
import threading

import service

UINT32 = 2 ** 32
UINT64 = 2 ** 64
INT64 = 2 ** 63


class Problem(Exception):
    pass


# ---------- types of fields ----------

def string(value, at):
    if not isinstance(value, str):
        raise Problem(f"{at}: {value!r} is not a string")
    value.encode()              # lone surrogates are no UTF-8


def boolean(value, at):
    if not isinstance(value, bool):
        raise Problem(f"{at}: {value!r} is not a boolean")


def double(value, at):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Problem(f"{at}: {value!r} is not a number")


def number(low, high):
    def check(value, at):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
            raise Problem(f"{at}: {value!r} is not a number from {low} to {high - 1}")
    return check


def long_number(low, high):
    def check(value, at):
        if not isinstance(value, str) or not re.fullmatch(r"0|-?[1-9][0-9]*", value):
            raise Problem(f"{at}: {value!r} is not a string of decimal digits")
        number(low, high)(int(value), at)
    return check


def identifier(digits):
    def check(value, at):
        if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", value) or set(value) == {"0"}:
            raise Problem(f"{at}: {value!r} is not an id of {digits} hexadecimal digits")
    return check


def repeated(kind):
    def check(value, at):
        if not isinstance(value, list):
            raise Problem(f"{at} is not an array")
        for place, element in enumerate(value):
            kind(element, f"{at}[{place}]")
    return check


def message(name):
    def check(value, at):
        fields = MESSAGES[name]
        if not isinstance(value, dict):
            raise Problem(f"{at} is not an object")
        for key, element in value.items():
            if key not in fields:
                raise Problem(f"{at}: {name} has no field {key!r}")
            fields[key](element, f"{at}.{key}")
        if name == "AnyValue" and len(value) > 1:
            raise Problem(f"{at}: more than one value")
    return check


attributes = repeated(message("KeyValue"))
uint32 = number(0, UINT32)
fixed64 = long_number(0, UINT64)

# opentelemetry-proto: collector/trace/v1, trace/v1, resource/v1, common/v1
MESSAGES = {
    "ExportTraceServiceRequest": {"resourceSpans": repeated(message("ResourceSpans"))},
    "ResourceSpans": {"resource": message("Resource"), "scopeSpans": repeated(message("ScopeSpans")),
                      "schemaUrl": string},
    "Resource": {"attributes": attributes, "droppedAttributesCount": uint32},
    "ScopeSpans": {"scope": message("InstrumentationScope"), "spans": repeated(message("Span")),
                   "schemaUrl": string},
    "InstrumentationScope": {"name": string, "version": string, "attributes": attributes,
                             "droppedAttributesCount": uint32},
    "Span": {"traceId": identifier(32), "spanId": identifier(16), "traceState": string,
             "parentSpanId": identifier(16), "flags": uint32, "name": string, "kind": number(0, 6),
             "startTimeUnixNano": fixed64, "endTimeUnixNano": fixed64, "attributes": attributes,
             "droppedAttributesCount": uint32, "events": repeated(message("Event")),
             "droppedEventsCount": uint32, "links": repeated(message("Link")), "droppedLinksCount": uint32,
             "status": message("Status")},
    "Event": {"timeUnixNano": fixed64, "name": string, "attributes": attributes,
              "droppedAttributesCount": uint32},
    "Link": {"traceId": identifier(32), "spanId": identifier(16), "traceState": string,
             "attributes": attributes, "droppedAttributesCount": uint32, "flags": uint32},
    "Status": {"message": string, "code": number(0, 3)},
    "KeyValue": {"key": string, "value": message("AnyValue")},
    "AnyValue": {"stringValue": string, "boolValue": boolean, "intValue": long_number(-INT64, INT64),
                 "doubleValue": double, "arrayValue": message("ArrayValue"),
                 "kvlistValue": message("KeyValueList"), "bytesValue": string},
    "ArrayValue": {"values": repeated(message("AnyValue"))},
    "KeyValueList": {"values": attributes},
}


def pairs(items):
    """An object; no key twice."""
    result = dict(items)
    if len(result) != len(items):
        raise Problem("an object has a key twice")
    return result


def plain(name, at):
    """Attributes as a dictionary; a key is there once."""
    result = {}
    for entry in name:
        if entry["key"] in result or entry["key"] == "" or not entry["value"]:
            raise Problem(f"{at}: attribute {entry['key']!r} twice, or without a value")
        (kind, value), = entry["value"].items()
        result[entry["key"]] = int(value) if kind == "intValue" else value
    return result


def read(body):
    """The spans of a request, with what is to be true of each, besides its form."""
    request = json.loads(body.decode("utf-8", "strict"), object_pairs_hook=pairs,
                         parse_constant=lambda word: (_ for _ in ()).throw(Problem(word)))
    message("ExportTraceServiceRequest")(request, "request")
    spans = []
    for of_resource in request["resourceSpans"]:
        resource = plain(of_resource["resource"]["attributes"], "resource")
        if not resource.get("service.name"):
            raise Problem("the resource has no service.name")
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for field in ("traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano"):
                    if not span.get(field):
                        raise Problem(f"a span has no {field}")
                if int(span["endTimeUnixNano"]) < int(span["startTimeUnixNano"]):
                    raise Problem("a span ends before it starts")
                if span.get("parentSpanId") == span["spanId"]:
                    raise Problem("a span is its own parent")
                spans.append({**span, "attributes": plain(span["attributes"], span["name"]),
                              "resource": resource, "scope": of_scope["scope"]})
    if not spans:
        raise Problem("a request without spans")
    return spans


# ---------- requests ----------

lock = threading.Lock()
taken, problems, answers = [], [], []
requests = 0


class Collector(service.Handler):
    def respond(self, path, query, body):
        global requests

        if path.startswith("/_"):
            self.administer(path, body)
            return
        with lock:
            requests += 1
            answer = answers[0] if answers else {}
            if answers and not answer.get("stay"):
                answers.pop(0)
        if answer.get("hang"):
            threading.Event().wait()
        try:
            if self.command != "POST" or not path.endswith("/v1/traces") or query:
                raise Problem(f"{self.command} {self.path}")
            if self.headers.get("Content-Type") != "application/json":
                raise Problem(f"Content-Type {self.headers.get('Content-Type')!r}")
            spans = read(body)
        except (Problem, ValueError, KeyError, AttributeError) as problem:
            with lock:
                problems.append(f"{type(problem).__name__}: {problem}: {body[:2000]!r}")
            self.answer(400, '{"message": "that is no request"}')
            return
        status = answer.get("status", 200)
        if status == 200:
            with lock:
                taken.extend({**span, "path": path, "headers": dict(self.headers)} for span in spans)
        self.answer(status, answer.get("body", '{"partialSuccess":{}}'),
                    (("Content-Type", "application/json"), *answer.get("headers", {}).items()))

    def administer(self, path, body):
        global requests

        with lock:
            if path == "/_answer":
                answers[:] = json.loads(body)
            elif path == "/_clear":
                taken.clear()
                problems.clear()
                answers.clear()
                requests = 0
            self.answer(200, json.dumps({"/_spans": taken, "/_problems": problems,
                                         "/_requests": requests}.get(path)))


if __name__ == "__main__":
    service.run_until_told(service.serve(Collector, int(sys.argv[1]) if len(sys.argv) > 1 else 0))
