# HTTP through the gateway.  If this fails, services that use dtm's SDKs get
# another answer than from dtm.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DocsTest;
use DtmTest;
use GatewayTest;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use Test::More;

gateway_program();
my $node = start_server('gateway');
my $busi = start_participant();
my $json = JSON::PP->new->canonical;
start_gateway($node);

sub saga
{
	my ($gid, %more) = @_;
	return {
		gid => $gid, trans_type => 'saga',
		steps => [ map { { action => "$busi/$_", compensate => "$busi/${_}Revert" } } qw(TransOut TransIn) ],
		payloads => [ '{"amount":30}', '{"amount":30}' ], %more };
}

# newGid, and what needs no database
my $response = get('newGid');
is($response->{status}, 200, 'newGid (AP-16)');
is($response->{json}{dtm_result}, 'SUCCESS', 'with the word that old SDKs want');
my $gid = $response->{json}{gid};
like($gid, qr/^[0-9a-z]{26}$/, 'a gid');
isnt(get('newGid')->{json}{gid}, $gid, 'and another one');
is($response->{headers}{'content-type'}, 'application/json; charset=utf-8', 'its type');
is(ask('GET', '/api/ping')->{content}, '{"msg":"pong"}', 'ping');
is(ask('POST', '/api/ping')->{content}, '{"msg":"pong"}', 'with any method (AP-18)');
like(get('version')->{json}{version}, qr/^\d+\.\d+\.\d+$/, 'version (AP-01)');

# a saga
$response = post('submit', saga($gid));
is($response->{status}, 200, 'submit') or diag $response->{content};
is($response->{content}, '{"dtm_result":"SUCCESS"}', 'its body');
eventually($node, "SELECT status = 'succeed' FROM dtm.transactions WHERE gid = '$gid'");
is(sql("SELECT submitted_by FROM dtm.transactions WHERE gid = '$gid'"), 'dtm_api', 'as the role of the gateway\'s clients');
my $query = get("query?gid=$gid")->{json};
is($query->{transaction}{status}, 'succeed', 'query');
is(join(' ', map { $_->{status} } @{ $query->{branches} }), 'prepared succeed prepared succeed', 'its branches');
is(join(' ', map { $_->{path} } calls_of($gid)), '/TransOut /TransIn', 'calls');
$response = post('submit', saga($gid));
is($response->{status}, 409, 'a repeated submit of one that has ended');
is($response->{json}{dtm_result}, 'FAILURE', 'is a failure');
like($response->{json}{message}, qr/current status is 'succeed' FAILURE$/, 'its text');

# tcc: prepare, branches, submit; abort
is(post('prepare', { gid => 'tcc1', trans_type => 'tcc' })->{status}, 200, 'prepare');
for my $branch ('01', '02')
{
	is(post('registerTccBranch', { gid => 'tcc1', trans_type => 'tcc', branch_id => $branch, data => '{"a":1}',
				confirm => "$busi/Confirm", cancel => "$busi/Cancel", status => 'prepared', try => 'x' })->{content},
		'{"dtm_result":"SUCCESS"}', "branch $branch");
}
is(post('registerBranch', { gid => 'tcc1', trans_type => 'tcc', branch_id => '01', confirm => '', cancel => '' })->{status}, 500, 'a branch twice');
is(post('registerBranch', { gid => 'tcc1', trans_type => 'tcc', branch_id => 1 })->{status}, 400, 'a number for a branch');
is(post('registerBranch', '{')->{status}, 400, 'malformed JSON for a branch');
is(post('registerBranch', { gid => 'nowhere', trans_type => 'tcc', branch_id => '01', confirm => '', cancel => '' })->{status}, 409, 'a branch of none');
is(post('submit', { gid => 'tcc1', trans_type => 'tcc' })->{status}, 200, 'submit of it');
eventually($node, "SELECT status = 'succeed' FROM dtm.transactions WHERE gid = 'tcc1'");
is(join(' ', map { $_->{path} . $_->{query}{branch_id} } calls_of('tcc1')), '/Confirm02 /Confirm01', 'the last is confirmed first');
is(post('prepare', { gid => 'tcc2', trans_type => 'tcc' })->{status}, 200, 'prepare another');
is(post('abort', { gid => 'tcc2', trans_type => 'tcc', rollback_reason => 'no' })->{status}, 200, 'abort it');
eventually($node, "SELECT status = 'failed' FROM dtm.transactions WHERE gid = 'tcc2'");
is(post('abort', { gid => 'nowhere', trans_type => 'tcc' })->{status}, 500, 'abort of none');

# wait_result: the end of the first pass (SO-05 to SO-07, R-10 to R-16)
$response = post('submit', saga('wait-ok', wait_result => JSON::PP::true));
is($response->{status}, 200, 'SO-05: wait_result, success') or diag $response->{content};
is(sql("SELECT status FROM dtm.transactions WHERE gid = 'wait-ok'"), 'succeed', 'and it has ended');
reply('/TransIn', { status => 409, body => '{"error":"Insufficient balance"}' });
$response = post('submit', saga('wait-no', wait_result => JSON::PP::true));
is($response->{status}, 409, 'SO-07, R-10: wait_result, refused');
like($response->{json}{message}, qr/Insufficient balance/, 'with the reason');
is(sql("SELECT status FROM dtm.transactions WHERE gid = 'wait-no'"), 'failed', 'and it has ended');
reply('/TransIn', { status => 425, body => 'ONGOING' });
$response = post('submit', saga('wait-later', wait_result => JSON::PP::true));
is($response->{status}, 409, 'SO-06, R-11: wait_result, ongoing');
is($response->{json}{message}, 'wait result not return success: FAILURE', 'its text');
my $msg = { trans_type => 'msg', steps => [ { action => "$busi/TransIn" } ], payloads => ['{}'], wait_result => JSON::PP::true };
reply('/TransIn', { status => 500, body => 'no disk' });
$response = post('submit', { %$msg, gid => 'wait-error' });
is($response->{status}, 500, 'R-13: wait_result of a message, a temporary error');
like($response->{json}{message}, qr/^your http\/grpc result should.*: no disk$/s, 'its text');
reply('/TransIn', { status => 409, body => 'never' });
$response = post('submit', { %$msg, gid => 'wait-failure' });
is($response->{status}, 409, 'R-14: wait_result of a message, a failure');
like($response->{json}{message}, qr/^your http\/grpc result should.*: never FAILURE$/s, 'its text');
$response = post('submit', { %$msg, gid => 'wait-delay', custom_data => '{"delay":1000}' });
is($response->{status}, 409, 'R-15: wait_result of a message with a delay');
is(post('prepare', { gid => 'wait-tcc', trans_type => 'tcc', wait_result => JSON::PP::true })->{status}, 200, 'a tcc with wait_result');
post('registerBranch', { gid => 'wait-tcc', trans_type => 'tcc', branch_id => '01', confirm => "$busi/Confirm", cancel => "$busi/Cancel" });
reply('/Confirm', { status => 425, body => 'ONGOING' });
$response = post('submit', { gid => 'wait-tcc', trans_type => 'tcc' });
is($response->{status}, 425, 'R-12: wait_result of a tcc, ongoing');
is($response->{content}, '{"dtm_result":"ONGOING","message":"ONGOING"}', 'its body');
post('prepare', { gid => 'wait-abort', trans_type => 'tcc', wait_result => JSON::PP::true });
post('registerBranch', { gid => 'wait-abort', trans_type => 'tcc', branch_id => '01', confirm => "$busi/Confirm", cancel => "$busi/Cancel" });
reply('/Cancel', { status => 500, body => 'no disk' });
$response = post('abort', { gid => 'wait-abort', trans_type => 'tcc' });
is($response->{status}, 500, 'R-16: an abort waits, if that was said at the prepare');
like($response->{json}{message}, qr/: no disk$/, 'its text');

# workflow
$response = post('prepareWorkflow', { gid => 'wf', trans_type => 'workflow', query_prepared => "$busi/Callback", protocol => 'http',
		custom_data => '{"name":"n","data":"e30="}' });
is($response->{status}, 200, 'prepareWorkflow');
is($response->{json}{transaction}{status}, 'prepared', 'is prepared');
is_deeply($response->{json}{progresses}, [], 'no progress yet');
post('registerBranch', { gid => 'wf', trans_type => 'workflow', branch_id => '01', op => 'action', status => 'succeed', data => 'x' });
is(post('prepareWorkflow', { gid => 'wf', trans_type => 'workflow' })->{json}{progresses}[0]{bin_data}, 'eA==', 'its progress comes back');
is(post('submit', { gid => 'wf', trans_type => 'workflow', req_extra => { status => 'succeed', result => 'AAE=' } })->{status}, 200, 'its end');
is(post('prepareWorkflow', { gid => 'wf', trans_type => 'workflow' })->{json}{transaction}{result}, 'AAE=', 'and its result');
is(post('submit', { gid => 'wf', trans_type => 'workflow', req_extra => { status => 'failed' } })->{status}, 500, 'no second end');
$response = post('prepareWorkflow', '{');
is($response->{status}, 500, 'an error of prepareWorkflow');
like($response->{headers}{'content-type'}, qr{^text/plain}, 'is no JSON: the client would crash');
$response = post('prepareWorkflow', { gid => 'wf-noname', trans_type => 'workflow' });
like($response->{headers}{'content-type'}, qr{^text/plain}, 'nor one of the database');

# steering and reading
post('submit', { %$msg, gid => 'stop', custom_data => '{"delay":1000}', wait_result => JSON::PP::false });
is(post('forceStop', { gid => 'stop' })->{status}, 200, 'forceStop (AP-13)');
is(post('forceStop', { gid => 'stop' })->{status}, 409, 'forceStop again (AP-14)');
is(post('resetNextCronTime', { gid => 'stop' })->{status}, 200, 'resetNextCronTime of one that has ended (AP-15)');
is(get('query?gid=unknown')->{content}, '{"branches": [], "transaction": null}', 'query of none (AP-04)');
is(get($_)->{status}, 500, "$_ without a gid (AP-03)") for 'query', 'query?gid=';
my $page = get('all?limit=2')->{json};
is(scalar @{ $page->{transactions} }, 2, 'a page');
isnt($page->{next_position}, '', 'with a next one');
is(get("all?limit=1000&position=$page->{next_position}")->{json}{next_position}, '', 'that is the last');
my ($first, $second) = map { get("all?limit=1&position=$_")->{json} } '', get('all?limit=1')->{json}{next_position};
isnt($first->{next_position}, '', 'AP-05: a page of one');
isnt($second->{next_position}, $first->{next_position}, 'and the next');
isnt($second->{transactions}[0]{gid}, $first->{transactions}[0]{gid}, 'is another');
my $now = time * 1000;
my $past = get('all?status=succeed&transType=saga&createTimeStart=' . ($now - 3_600_000) . '&createTimeEnd=' . ($now + 60_000) . '&limit=1000')->{json};
is(join(' ', sort map { "$_->{status} $_->{trans_type}" } @{ $past->{transactions} }) . "|$past->{next_position}", 'succeed saga succeed saga|', 'AP-07: by status, type and time');
is(get('all?createTimeStart=' . ($now - 7_200_000) . '&createTimeEnd=' . ($now - 3_600_000))->{content}, '{"transactions": [], "next_position": ""}', 'AP-08: a time in the past');
is(get('all?limit=x')->{json}{message}, 'convert to int error: x. limit is an integer.', 'a limit that is none');
is(get('all?gid=tcc1')->{json}{transactions}[0]{gid}, 'tcc1', 'all with a gid (AP-06)');
is(get('subscribe?topic=t&url=http%3A%2F%2Fa%2F&remark=a+b')->{status}, 500, 'topics are not anybody\'s');
sql('GRANT EXECUTE ON FUNCTION dtm_subscribe(text, text, text), dtm_unsubscribe(text, text), dtm_delete_topic(text) TO dtm_api');
is(get('subscribe?topic=t%2B1&url=http%3A%2F%2Fa%2F&remark=a+b')->{status}, 200, 'subscribe');
is(sql('SELECT topic, url, remark FROM dtm.topics'), 't+1|http://a/|a b', 'decoded');
is(get('queryKV?cat=topics&key=t%2B1')->{json}{kv}[0]{version}, 1, 'queryKV (AP-10)');
is(get('queryKV?cat=topics&key=unknown')->{content}, '{"kv": []}', 'of none');
is(get('scanKV?cat=topics')->{json}{next_position}, '', 'scanKV');
get('subscribe?topic=t2&url=http%3A%2F%2Fa%2F');
my @pages = get('scanKV?cat=topics&limit=1')->{json};
push @pages, get("scanKV?cat=topics&limit=1&position=" . $pages[-1]{next_position} =~ s/\+/%2B/gr)->{json} while $pages[-1]{next_position} ne '' && @pages < 5;
is(join(' ', map { scalar @{ $_->{kv} } } @pages), '1 1 0', 'AP-09: pages of one');
ask('DELETE', '/api/dtmsvr/topic/t2');
is(get('unsubscribe?topic=t%2B1&url=http%3A%2F%2Fa%2F')->{status}, 200, 'unsubscribe');
is(ask('DELETE', '/api/dtmsvr/topic/t%2B1')->{status}, 200, 'delete a topic');
is(ask('DELETE', '/api/dtmsvr/topic/t%2B1')->{status}, 500, 'which is gone');

# what there is not
$response = ask('GET', '/api/dtmsvr/nothing');
is("$response->{status} $response->{content} $response->{headers}{'content-type'}", '404 404 page not found text/plain; charset=utf-8', 'an unknown path');
is(ask('GET', '/api/dtmsvr/submit')->{status}, 404, 'a wrong method');
is(ask('HEAD', '/api/dtmsvr/query')->{status}, 404, 'HEAD');
is(ask('OPTIONS', '/api/dtmsvr/submit')->{status}, 404, 'OPTIONS');
$response = ask('GET', '/api/dtmsvr/query/?gid=a');
is("$response->{status} $response->{headers}{location}", '301 /api/dtmsvr/query?gid=a', 'a slash at the end');
is(ask('POST', '/api/dtmsvr/submit/', '{}')->{status}, 307, 'the same with POST');
is(post('submit', $_)->{status}, 500, "bad body: $_") for '', '{', 'null', '[]', '{"gid":1}', "{\"gid\":\"\xff\"}", '{"gid":"g"}', '{"gid":"\u0000","trans_type":"msg"}';
like(post('submit', { gid => 'g', trans_type => 'x' })->{json}{message}, qr/^unknown trans_type/, 'an unknown type');
is(post('submit', '{"subType":"a","subType":"b","gid":"java","trans_type":"msg","custom_data":null,"branch_id":3}')->{status}, 200, 'doubled, unknown and null keys');

# JSON-RPC
sub rpc { my ($body) = @_; return ask('POST', '/api/json-rpc', $body); }
$response = rpc({ jsonrpc => '2.0', id => 'no-use', method => 'newGid', params => '' });	# JR-05
is($response->{status}, 200, 'JSON-RPC: newGid');
like($response->{json}{result}{gid}, qr/^[0-9a-z]{26}$/, 'its gid');
ok(exists $response->{json}{error} && !defined $response->{json}{error}, 'no error');
is(rpc({ jsonrpc => '2.0', id => "a\"b", method => 'prepare', params => { gid => 'rpc', trans_type => 'tcc' } })->{content},
	'{"jsonrpc":"2.0","id":"a\"b","result":null,"error":null}', 'JSON-RPC: prepare');
$response = rpc({ jsonrpc => '2.0', id => 'x', method => 'registerBranch', params => { gid => 'rpc', trans_type => 'tcc', branch_id => '01', confirm => "$busi/Confirm", cancel => "$busi/Cancel" } });
is($response->{json}{error}, undef, 'JSON-RPC: registerBranch');
is(rpc({ jsonrpc => '2.0', id => 'x', method => 'submit', params => { gid => 'rpc', trans_type => 'tcc' } })->{json}{error}, undef, 'JSON-RPC: submit');
eventually($node, "SELECT status = 'succeed' FROM dtm.transactions WHERE gid = 'rpc'");
is(join(' ', map { "$_->{method} $_->{path}" } calls_of('rpc')), 'GET /Confirm', 'TC-12: its branches are plain HTTP');
my $transfer = { gid => 'rpc-msg', trans_type => 'msg', steps => [ { action => "$busi/TransIn" } ], payloads => ['{"amount":30}'], query_prepared => "$busi/Query" };
is(rpc({ jsonrpc => '2.0', id => 'x', method => $_, params => $transfer })->{json}{error}, undef, "MD-10: $_ of a message") for 'prepare', 'submit';
eventually($node, "SELECT status = 'succeed' FROM dtm.transactions WHERE gid = 'rpc-msg'");
is(join(' ', map { $_->{path} } calls_of('rpc-msg')), '/TransIn', 'MD-10: its call');
is(rpc({ jsonrpc => '2.0', id => 'x', method => $_, params => { %$transfer, gid => 'rpc-no' } })->{json}{error}, undef, "MD-11: $_ of a message") for 'prepare', 'abort';
is(sql("SELECT status FROM dtm.transactions WHERE gid = 'rpc-no'"), 'failed', 'MD-11: whose business has failed');
is(scalar(my @none = calls_of('rpc-no')), 0, 'MD-11: nobody is called');
is(rpc({ jsonrpc => '2.0', id => 'x', method => 'abort', params => { gid => 'rpc', trans_type => 'tcc' } })->{json}{error}{code}, -32901, 'JSON-RPC: a failure');
is(rpc({ jsonrpc => '2.0', id => 'x', method => 'registerBranch', params => { gid => 'rpc', trans_type => 'none', branch_id => '01' } })->{json}{error}{code}, -32603, 'JSON-RPC: an error (JR-04)');
is(rpc({ jsonrpc => '2.0', id => 'x', method => 'query', params => {} })->{json}{error}{code}, -32601, 'JSON-RPC: an unknown method');
is(rpc({ jsonrpc => '1.0', id => 'x', method => 'submit', params => {} })->{json}{error}{code}, -32600, 'JSON-RPC: another version');
is(rpc({ jsonrpc => '2.0', id => '', method => 'submit', params => {} })->{json}{error}{code}, -32600, 'JSON-RPC: an empty id');
for my $bad ('', 'x', '[]', '{"jsonrpc":"2.0","id":1,"method":"newGid"}')
{
	$response = rpc($bad);
	is("$response->{status} $response->{json}{error}{code}", '400 -32700', "JSON-RPC: $bad");
}

# what README has newcomers type
my ($bank_in, $bank_out, $out, $err) = ('', '');
my $bank_port = PostgreSQL::Test::Cluster::get_free_port();
my $bank = IPC::Run::start([ '/usr/bin/python3', "$FindBin::RealBin/../examples/bank.py", $bank_port ], '<', \$bank_in, '>', \$bank_out, '2>', '/dev/null', IPC::Run::timeout(300));
IPC::Run::pump($bank) until $bank_out =~ /\n/;
my ($typed) = map { $_->{mark} eq 'run by t/030_gateway.pl' ? $_->{text} : () } blocks_of('README.md');
my ($of_gateway) = url('') =~ /:(\d+)$/;
$typed =~ s/:36789\b/:$of_gateway/g;
$typed =~ s/:8090\b/:$bank_port/g;
ok(IPC::Run::run([ 'bash', '-euc', $typed ], '<', \undef, '>', \$out, '2>', \$err), 'README: what is typed for the dtm server') or diag $err;
like($out, qr/^\{"dtm_result":"SUCCESS"\}\{.*"gid": "transfer-5", "status": "succeed"/, 'README: it succeeds') or diag $out;
like(HTTP::Tiny->new->get("http://127.0.0.1:$bank_port/accounts")->{content}, qr/"alice": 70\b.*"bob": 130\b/, 'README: the money is there');
$bank->kill_kill;

# metrics (AP-11): no gid in a label
my $metrics = ask('GET', '/api/metrics')->{content};
like($metrics, qr/^dtm_server_process_total\{type="http",api="submit",status="200"\} \d+$/m, 'metrics');
like($metrics, qr/^dtm_server_process_total\{type="jsonrpc",api="submit",status="200"\} 2$/m, 'of JSON-RPC');
unlike($metrics, qr/tcc1|wait-/, 'without gids');
like($metrics, qr/^# TYPE dtm_transaction_process_total counter\ndtm_transaction_process_total\{model="saga",status="ok"\} [1-9]\d*$/m, 'transactions that have ended, by the database');
like($metrics, qr/^dtm_branch_process_total\{branchtype="action",model="saga",status="ok"\} [1-9]\d*\ndtm_branch_process_total\{branchtype="action",model="saga",status="fail"\} \d+$/m, 'calls of branches');

# a stop answers what has been accepted
is(stop_gateway(), 0, 'stopped');
done_testing();
