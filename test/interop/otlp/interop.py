"""Spans against the protocol buffers of opentelemetry-proto.

Each request has to be an ExportTraceServiceRequest: google.protobuf reads its JSON, in which ids
have been made what the JSON mapping of protocol buffers has instead of OTLP's hexadecimal digits.
"""
import base64
import http.server
import json
import os
import subprocess
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

PATIENCE = 90
LABEL = os.environ['INTEROP_LABEL']
STATEMENTS = """
CREATE FUNCTION pg_temp.steps(url text) RETURNS dtm_step[] LANGUAGE sql AS
$$ SELECT ARRAY[dtm_step(url || '/a', url || '/b', '{}'), dtm_step(url || '/c', '', '{}')] $$;
SELECT dtm_submit('saga', pg_temp.steps('%(url)s'), gid => 'otlp-saga');
SELECT dtm_submit('saga', pg_temp.steps('%(url)s/conflict'), gid => 'otlp-failed "中"',
                  options => '{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('%(url)s/a', payload => '{}')], gid => 'otlp-msg');
"""
spans, problems = [], []
arrived = threading.Event()


def as_protobuf(value, key=None):
    """The same JSON with ids in base64."""
    if isinstance(value, dict):
        return {name: as_protobuf(element, name) for name, element in value.items()}
    if isinstance(value, list):
        return [as_protobuf(element) for element in value]
    if key in ('traceId', 'spanId', 'parentSpanId'):
        return base64.b64encode(bytes.fromhex(value)).decode()
    return value


class Collector(http.server.BaseHTTPRequestHandler):
    """The collector, and the participants, too."""
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if self.path == '/v1/traces':
            self.take(body)
        self.send_response(409 if '/conflict/a' in self.path else 200)
        self.send_header('Content-Length', '0')
        self.end_headers()

    do_GET = do_POST

    def take(self, body):
        try:
            request = json_format.ParseDict(as_protobuf(json.loads(body)),
                                            trace_service_pb2.ExportTraceServiceRequest())
            for resource_spans in request.resource_spans:
                assert resource_spans.resource.attributes[0].value.string_value == 'dtm'
                for scope_spans in resource_spans.scope_spans:
                    spans.extend(scope_spans.spans)
        except Exception as problem:
            problems.append(f'{type(problem).__name__}: {problem}: {body[:1000]}')
        if sum(span.name.startswith('dtm ') for span in spans) >= 3 or problems:
            arrived.set()

    def log_message(self, *_arguments):
        pass


def psql(sql):
    subprocess.run(['psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-U', 'postgres', '-d', 'postgres'],
                   input=sql.encode(), check=True)


def report(good, what):
    print('ok' if good else 'not ok', f'- {LABEL}: {what}', flush=True)


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_address[1]}'
psql(f"ALTER SYSTEM SET dtm.otlp_endpoint = '{url}';")
psql('SELECT pg_reload_conf(); ')
psql(STATEMENTS % {'url': url})
report(arrived.wait(PATIENCE), 'spans arrive')
report(not problems, 'requests are those of opentelemetry-proto' + ''.join(problems))
roots = [span for span in spans if span.name.startswith('dtm ')]
report(all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans), 'ids')
report(sorted(trace_pb2.Status.StatusCode.Name(span.status.code) for span in roots)
       == ['STATUS_CODE_ERROR', 'STATUS_CODE_OK', 'STATUS_CODE_OK'], 'statuses')
report({trace_pb2.Span.SpanKind.Name(span.kind) for span in spans}
       == {'SPAN_KIND_INTERNAL', 'SPAN_KIND_CLIENT'}, 'kinds')
child = [span for span in roots if span.parent_span_id]
report(len(child) == 1 and child[0].parent_span_id.hex() == 'b7ad6b7169203331'
       and child[0].trace_id.hex() == '0af7651916cd43dd8448eb211c80319c'
       and child[0].flags & trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK, 'the parent of a traceparent')
psql('ALTER SYSTEM RESET dtm.otlp_endpoint;')
psql('SELECT pg_reload_conf();')
