# gRPC through the gateway.  If this fails, services that use dtm's gRPC clients
# get another answer than from dtm, or their payloads arrive changed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use JSON::PP;
use Test::More;

gateway_program();
my $node = start_server('gateway_grpc');
my ($busi, $grpc) = start_participant('--grpc');
my ($http_port, $grpc_port) = start_gateway($node);
start_grpc_client("127.0.0.1:$grpc_port");

sub steps { return encode_json([ map { { action => "$grpc/busi.Busi/$_", compensate => "$grpc/busi.Busi/${_}Revert" } } @_ ]); }

# A DtmRequest of a saga
sub saga
{
	my ($gid, %more) = @_;
	return message(1 => $gid, 2 => 'saga', 5 => "\x08\xac\x02", 5 => "\x0a\x00\xff", 7 => steps('TransOut', 'TransIn'),
		map { $_ => $more{$_} } sort keys %more);
}

my $answer = grpc_call('NewGid');
is($answer->{code}, 0, 'NewGid') or diag explain $answer;
like(pack('H*', $answer->{reply}), qr/^\x0a\x1a[0-9a-z]{26}$/, 'its reply');

# a saga whose payloads are bytes
$answer = grpc_call('Submit', saga('g1', 3 => message(1 => \1, 2 => \1800, 5 => message(1 => 'test_header', 2 => 'yes'))));
is($answer->{code}, 0, 'GG-06: Submit with WaitResult') or diag explain $answer;
is($answer->{reply}, '', 'an empty reply');
is(sql("SELECT status FROM dtm.transactions WHERE gid = 'g1'"), 'succeed', 'it has ended');
is(sql("SELECT options->>'timeout_to_fail' FROM dtm.transactions WHERE gid = 'g1'"), '1800', 'with its options');
is(sql("SELECT string_agg(DISTINCT payload::text, ' ' ORDER BY payload::text) FROM dtm.branches WHERE gid = 'g1'"), '\x08ac02 \x0a00ff', 'the payloads as they were');
my @calls = calls_of('g1');
is(join(' ', map { $_->{path} } @calls), '/busi.Busi/TransOut /busi.Busi/TransIn', 'its calls');
is($calls[0]{headers}{test_header}, 'yes', 'with the header');
$answer = grpc_call('Submit', saga('g1'));
is($answer->{code}, 10, 'ABORTED: a submit of one that has ended');
like($answer->{details}, qr/'succeed' FAILURE$/, 'its text');
reply('/busi.Busi/TransIn', { grpc => 10, message => "reason:no m\x{f6}ney\nat all" });
$answer = grpc_call('Submit', saga('g2', 3 => message(1 => \1)));
is($answer->{code}, 10, 'GG-09: ABORTED: WaitResult, refused');
like($answer->{details}, qr/reason:no m\x{f6}ney\nat all/, 'with the reason, percent-encoded on its way');
reply('/busi.Busi/TransIn', { grpc => 9, message => 'ONGOING' });
$answer = grpc_call('Submit', saga('g3', 3 => message(1 => \1)));
is("$answer->{code} $answer->{details}", '10 wait result not return success: FAILURE', 'WaitResult, ongoing');

# tcc
is(grpc_call('Prepare', message(1 => 't1', 2 => 'tcc', 3 => message(1 => \1), 7 => 'null'))->{code}, 0, 'Prepare');
for my $branch ('01', '02')
{
	$answer = grpc_call('RegisterBranch', message(1 => 't1', 2 => 'tcc', 3 => $branch,
			5 => message(1 => 'confirm', 2 => "$grpc/busi.Busi/Confirm"), 5 => message(1 => 'cancel', 2 => "$grpc/busi.Busi/Cancel"), 6 => "\xff\x00$branch"));
	is($answer->{code}, 0, "RegisterBranch $branch") or diag explain $answer;
}
is(grpc_call('RegisterBranch', message(1 => 't1', 2 => 'tcc', 3 => '01', 5 => message(1 => 'confirm'), 5 => message(1 => 'cancel')))->{code}, 2, 'UNKNOWN: a branch twice');
is(grpc_call('RegisterBranch', message(1 => 't1', 2 => 'none', 3 => '03'))->{code}, 2, 'UNKNOWN: a trans_type that is none');
is(grpc_call('RegisterBranch', message(1 => 'nowhere', 2 => 'xa', 3 => '03', 5 => message(1 => 'url')))->{code}, 10, 'ABORTED: a branch of none');
reply('/busi.Busi/Confirm', { grpc => 9, message => 'ONGOING' });
$answer = grpc_call('Submit', message(1 => 't1', 2 => 'tcc'));
is($answer->{code}, 9, 'FAILED_PRECONDITION: WaitResult of a tcc, ongoing') or diag explain $answer;
sql("SELECT dtm_retry_now('t1')");
eventually($node, "SELECT status = 'succeed' FROM dtm.transactions WHERE gid = 't1'");
is(sql("SELECT string_agg(DISTINCT payload::text, ' ' ORDER BY payload::text) FROM dtm.branches WHERE gid = 't1'"), '\xff003031 \xff003032', 'the branches\' bytes');
is(grpc_call('Prepare', message(1 => 't2', 2 => 'tcc'))->{code}, 0, 'Prepare another');
is(grpc_call('Abort', message(1 => 't2', 2 => 'tcc', 9 => 'rpc error: no'))->{code}, 0, 'Abort');
eventually($node, "SELECT status = 'failed' AND rollback_reason = 'rpc error: no' FROM dtm.transactions WHERE gid = 't2'");
is(grpc_call('Abort', message(1 => 'nowhere', 2 => 'tcc'))->{code}, 13, 'INTERNAL: Abort of none');
$answer = grpc_call('Submit', message(1 => 'empty'));
isnt($answer->{code}, 0, 'a Submit without a type is an error');
is(grpc_call('NewGid')->{code}, 0, 'and the server is there (AP-17)');

# a workflow, whose progress is bytes
my $workflow = message(1 => 'w1', 2 => 'workflow', 4 => '{"name":"n","data":"AAE="}', 6 => "$grpc/workflow.Workflow/Execute");
$answer = grpc_call('PrepareWorkflow', $workflow);
is(pack('H*', $answer->{reply}), message(1 => message(1 => 'w1', 2 => 'prepared')), 'PrepareWorkflow');
grpc_call('RegisterBranch', message(1 => 'w1', 2 => 'workflow', 3 => '01', 5 => message(1 => 'op', 2 => 'action'), 5 => message(1 => 'status', 2 => 'succeed'), 6 => "\x00\xff"));
$answer = grpc_call('PrepareWorkflow', $workflow);
is(pack('H*', $answer->{reply}), message(1 => message(1 => 'w1', 2 => 'prepared'), 2 => message(1 => 'succeed', 2 => "\x00\xff", 3 => '01', 4 => 'action')), 'its progress comes back');
is(grpc_call('Submit', message(1 => 'w1', 2 => 'workflow', 8 => message(1 => 'status', 2 => 'succeed'), 8 => message(1 => 'result', 2 => 'AAE=')))->{code}, 0, 'its end');
$answer = grpc_call('PrepareWorkflow', $workflow);
like(pack('H*', $answer->{reply}), qr/^\x0a.\x0a\x02w1\x12\x07succeed\x22\x04AAE=/, 'and its result (R-48)');
is(grpc_call('Submit', message(1 => 'w1', 2 => 'workflow', 8 => message(1 => 'status', 2 => 'succeed')))->{code}, 13, 'INTERNAL: a second end');

# topics
is(grpc_call('Subscribe', message(1 => 't', 2 => "$grpc/busi.Busi/TransIn", 3 => 'r'))->{code}, 7, 'PERMISSION_DENIED: topics are not anybody\'s');
sql('GRANT EXECUTE ON FUNCTION dtm_subscribe(text, text, text), dtm_unsubscribe(text, text), dtm_delete_topic(text) TO dtm_api');
is(grpc_call('Subscribe', message(1 => 't', 2 => "$busi/TransIn", 3 => 'r'))->{code}, 0, 'Subscribe');
is(grpc_call('Subscribe', message(1 => 't', 2 => "$busi/TransIn"))->{code}, 2, 'UNKNOWN: twice');
is(grpc_call('Unsubscribe', message(1 => 't', 2 => "$busi/TransIn"))->{code}, 0, 'Unsubscribe');
is(grpc_call('DeleteTopic', message(1 => 't'))->{code}, 0, 'DeleteTopic');
$answer = grpc_call('Submit', message(1 => 'no-topic', 2 => 'msg', 7 => '[{"action":"topic://none"}]', 5 => ''));
like("$answer->{code} $answer->{details}", qr/^13 topic not found/, 'INTERNAL: a message for a topic that nobody has subscribed to');
$answer = grpc_call('DeleteTopic', message(1 => 't'));
like("$answer->{code} $answer->{details}", qr/^2 no such a topic/, 'UNKNOWN: it is gone');

# what there is not
$answer = grpc_call('Nothing', '');
is("$answer->{code} $answer->{details}", '12 unknown method Nothing for service dtmgimp.Dtm', 'UNIMPLEMENTED: a method');
$answer = grpc_calls({ path => '/other.Service/Method' });
is("$answer->{code} $answer->{details}", '12 unknown service other.Service', 'UNIMPLEMENTED: a service');
is(grpc_call('Submit', "\x0a\xff")->{code}, 13, 'INTERNAL: a malformed message');
is(grpc_call('Submit', message(1 => "\xff\xfe", 2 => 'msg'))->{code}, 13, 'INTERNAL: a gid that is no UTF-8');
is(grpc_call('Submit', message(1 => "a\nb", 2 => 'msg'))->{code}, 2, 'UNKNOWN: a gid with a newline');
is(grpc_call('Submit', message(1 => "a\0b", 2 => 'msg'))->{code}, 2, 'UNKNOWN: a gid with a zero byte');
is(grpc_call('Submit', message(1 => 'old', 2 => 'msg', 3 => message(4 => 'passthrough'), 99 => 'unknown', 98 => \7))->{code}, 0, 'fields that are not known are skipped');
$answer = grpc_call('Submit', message(1 => 'long', 2 => "\xe4\xb8\xad" x 50000));
is("$answer->{code} " . (length $answer->{details} < 1000 ? 'short' : 'long'), '2 short', 'UNKNOWN: a trans_type of 150 kB, and the message is not as long') or diag $answer->{details};
is(grpc_call('Submit', message(1 => 'big', 2 => 'msg', 5 => 'x' x (1024 * 1024)))->{code}, 8, 'RESOURCE_EXHAUSTED: a message of 1 MiB');

# health
$answer = grpc_calls({ path => '/grpc.health.v1.Health/Check' });
is("$answer->{code} $answer->{reply}", '0 0801', 'Check: serving');
is(grpc_calls({ path => '/grpc.health.v1.Health/Check', message => unpack('H*', message(1 => 'dtmgimp.Dtm')) })->{reply}, '0801', 'of the service');
is(grpc_calls({ path => '/grpc.health.v1.Health/Check', message => unpack('H*', message(1 => 'other')) })->{code}, 5, 'NOT_FOUND: of another');
is(grpc_calls({ path => '/grpc.health.v1.Health/Watch' })->{code}, 12, 'UNIMPLEMENTED: Watch');

# both protocols on both ports; a wrong content type
start_grpc_client("127.0.0.1:$http_port");
is(grpc_call('NewGid')->{code}, 0, 'gRPC on the other port');
is(ask('GET', '/api/dtmsvr/newGid')->{status}, 200, 'HTTP beside it');
sub curl
{
	my ($body, @arguments) = @_;
	my ($out, $err);

	IPC::Run::run([ 'curl', '-s', '-S', '--http2-prior-knowledge', defined $body ? ('--data-binary', '@-') : (), @arguments ],
		'<', \($body // ''), '>', \$out, '2>', \$err);
	return $out . $err;
}
SKIP:
{
	skip 'no curl with HTTP/2', 3 unless `curl -V 2>/dev/null` =~ /HTTP2/;
	like(curl(undef, url('/api/dtmsvr/newGid', 1)), qr/"dtm_result":"SUCCESS"/, 'HTTP/2 without gRPC');
	like(curl('x', '-o', '/dev/null', '-w', '%{http_code}', url('/dtmgimp.Dtm/Submit', 1)), qr/^415/, '415: no content type of gRPC');
	like(curl('x' x 2_000_000, '-o', '/dev/null', '-w', '%{http_code}', url('/api/dtmsvr/submit', 1)), qr/^413/, '413: a body of 2 MB');
}

# deadlines: the stream ends, what was asked for is done
my $locker = $node->background_psql('postgres', on_error_stop => 0);
grpc_call('Prepare', message(1 => 'locked', 2 => 'tcc'));
$locker->query_safe("BEGIN; SELECT 1 FROM dtm.request r JOIN dtm.active a USING (id) WHERE gid = 'locked' FOR UPDATE OF r, a");
is(grpc_call('Submit', message(1 => 'locked', 2 => 'tcc'), timeout => 0.3)->{code}, 4, 'DEADLINE_EXCEEDED');
is(grpc_call('Submit', message(1 => 'locked', 2 => 'tcc'), timeout => 20)->{code}, 14, 'UNAVAILABLE: somebody has its row locked');
is(grpc_call('Submit', message(1 => 'other', 2 => 'tcc'))->{code}, 0, 'others go on');
$locker->query_safe('COMMIT');
$locker->quit;
is(grpc_call('Submit', message(1 => 'locked', 2 => 'tcc'), timeout => 20)->{code}, 0, 'and so does it, then');

# many streams at once, and a connection for each call
my $answers = grpc_call('NewGid', '', times => 500);
is(scalar(grep { $_->{code} == 0 } @$answers), 500, '500 streams at once');
my %gids = map { $_->{reply} => 1 } @$answers;
is(scalar(keys %gids), 500, 'with a gid each');
$answers = grpc_calls({ many => [ map { { path => '/dtmgimp.Dtm/Submit', message => unpack('H*', message(1 => "many$_", 2 => 'msg')) } } 1 .. 300 ] });
is(scalar(grep { $_->{code} == 0 } @$answers), 300, '300 submits at once');
is(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'many%'"), 300, 'are all there');
cmp_ok(metric('dtm_gateway_batches_total'), '<', metric('dtm_gateway_batched_requests_total'), 'some of them in one batch');
is(grpc_call('NewGid', '', fresh => JSON::PP::true)->{code}, 0, "connection $_") for 1 .. 20;

is(stop_gateway(), 0, 'stopped');
done_testing();
