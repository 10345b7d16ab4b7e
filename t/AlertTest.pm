# Shared code of the tests of alerts: a webhook that writes down what it is told.
package AlertTest;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_pager pager_answers told told_of count_in_log);

my $json = JSON::PP->new->canonical;
my ($handle, $dir);

my $program = <<'PYTHON';
import http.server, json, sys
folder = sys.argv[1]
class Pager(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        status = int(open(folder + '/status').read())
        with open(folder + '/told', 'a') as log:
            log.write(json.dumps({'status': status, 'path': self.path, 'headers': dict(self.headers), 'body': json.loads(body)}) + '\n')
        self.send_response(status)
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Pager)
print(server.server_address[1], flush=True)
server.serve_forever()
PYTHON

# Returns the URL of the webhook.
sub start_pager
{
	my ($in, $out) = ('', '');

	$dir = PostgreSQL::Test::Utils::tempdir;
	pager_answers(200);
	$handle = IPC::Run::start([ '/usr/bin/python3', '-c', $program, $dir ], '<', \$in, '>', \$out, IPC::Run::timeout(600));
	IPC::Run::pump($handle) until $out =~ /\n/;
	return 'http://127.0.0.1:' . ($out =~ /(\d+)/)[0];
}

# With which status the next requests are answered.
sub pager_answers
{
	my ($status) = @_;
	open my $file, '>', "$dir/status.new" or die $!;
	print $file $status;
	close $file;
	rename "$dir/status.new", "$dir/status" or die $!;
	return;
}

# The requests, as they came.
sub told
{
	return () unless -e "$dir/told";
	return map { $json->decode($_) } split /\n/, slurp_file("$dir/told");
}

# What the webhook has taken, "kind state" of each.
sub told_of
{
	return map { "$_->{body}{kind} $_->{body}{state}" } grep { $_->{status} == 200 } told();
}

sub count_in_log
{
	my ($node, $pattern, $from) = @_;
	my $log = slurp_file($node->logfile, $from || 0);
	my $count = () = $log =~ /$pattern/g;
	return $count;
}

END
{
	local $?;
	$handle->kill_kill if $handle;
}

1;
