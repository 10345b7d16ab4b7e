# Answers that come later, over the gateway.  If this fails, a service cannot say what has become of a
# branch, or anybody can.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use JSON::PP;
use Test::More;

gateway_program();
my $node = start_server('gateway_complete');
my $busi = start_participant();
start_gateway($node);

sub complete
{
	my ($gid, %more) = @_;
	return post('completeBranch', { gid => $gid, branch_id => 'ship', op => 'action', ok => JSON::PP::true, %more });
}

sub submit
{
	my ($gid) = @_;

	reply('/ship', { status => 202 });
	my $response = post('submit', { gid => $gid, trans_type => 'saga', results => JSON::PP::true,
			steps => [ { action => "$busi/ship", compensate => "$busi/unship", name => 'ship', complete_within => 3600 }, { action => "$busi/tell" } ],
			payloads => [ '{}', '{"parcel": {"$result": "$.ship.parcel"}}' ] });
	is($response->{status}, 200, "$gid: submit") or diag $response->{content};
	return;
}

sub accepted
{
	my ($gid) = @_;
	ok(eventually($node, "SELECT count(*) = 1 FROM dtm.calls WHERE gid = '$gid' AND result = 'ONGOING'"), "$gid: accepted");
	return;
}

submit('later');
accepted('later');
my $response = complete('later', result => { parcel => 7 });
is("$response->{status} $response->{content}", '200 {"dtm_result":"SUCCESS"}', 'completed');
is(wait_for('later'), 'succeed', 'it goes on');
is((calls_of('later'))[1]{body}, '{"parcel":7}', 'with the result');
is(complete('later', result => { parcel => 7 })->{status}, 200, 'the same again');
$response = complete('later', result => { parcel => 8 });
is($response->{status}, 409, 'another result');
like($response->{json}{message}, qr/has another result already/, 'its text');
is(complete('later', ok => JSON::PP::false)->{status}, 409, 'the opposite');

submit('rejected');
accepted('rejected');
is(complete('rejected', op => '', ok => JSON::PP::false, result => 'no such address')->{status}, 200, 'completed as failed, without an op');
is(wait_for('rejected'), 'failed', 'it is rolled back');
like(reason('rejected'), qr/no such address/, 'the reason');

# by JSON-RPC
submit('rpc');
accepted('rpc');
sub rpc { return ask('POST', '/api/json-rpc', { jsonrpc => '2.0', id => '1', method => 'completeBranch', params => { gid => 'rpc', branch_id => 'ship', ok => JSON::PP::true, @_ } }); }
is(rpc(reslut => { parcel => 9 })->{json}{error}{message} =~ /unknown key "reslut"/, 1, 'JSON-RPC: a misspelt key');
is(rpc(result => { parcel => 9 })->{json}{error}, undef, 'JSON-RPC: completed');
is(wait_for('rpc'), 'succeed', 'it goes on');
is((calls_of('rpc'))[1]{body}, '{"parcel":9}', 'with the result');
is(rpc(ok => JSON::PP::false)->{json}{error}{code}, -32901, 'JSON-RPC: the opposite');

# what is no completion
is(complete('nowhere')->{status}, 500, 'of a transaction that does not exist');
is(complete('later', branch_id => 'nothing')->{status}, 500, 'of an unknown step');
is(complete('later', op => 'confirm')->{status}, 500, 'of an unknown op');
for my $case (
	[ { branch_id => undef }, qr/"branch_id" is missing/ ],
	[ { ok => undef }, qr/"ok" is missing/ ],
	[ { ok => 'yes' }, qr/"?ok"?/ ])
{
	my ($more, $message) = @$case;

	$response = complete('later', %$more);
	isnt($response->{status}, 200, 'what is not complete');
	like($response->{json}{message}, $message, 'its text');
}
isnt(post('completeBranch', $_)->{status}, 200, "bad body: $_") for '', '{', '[]', 'null', '1';

# others do not see it
reply('/ship', { status => 202 });
sql('CREATE ROLE other; GRANT dtm_user TO other; SET ROLE other; SELECT dtm_submit(\'saga\', ARRAY[dtm_step(\'' . $busi . '/ship\', options => \'{"name": "ship", "complete_within": 3600}\')], gid => \'theirs\')');
is(complete('theirs')->{status}, 500, 'a transaction of another role');
is(sql("SELECT dtm_status('theirs')"), 'submitted', 'stays as it is');

is(stop_gateway(), 0, 'stopped');
done_testing();
