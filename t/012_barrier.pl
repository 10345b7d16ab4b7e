# Sagas and TCCs with participants that use the barrier.  If this fails, money is moved by a
# repeated call, by a compensation without its action, or by a try that arrives too late.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use HTTP::Tiny;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('barrier', conf => "dtm.retry_interval = 50ms\n");
my ($a, $b) = map { start_bank($node, $_) } 'bank_a', 'bank_b';

sub balances { return in_banks('SELECT balance, frozen FROM account'); }
sub call { return HTTP::Tiny->new->post($_[0])->{status}; }

sub saga
{
	my ($gid, $extra_a, $extra_b) = @_;
	sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$a/?amount=-30$extra_a', '$a/?amount=-30$extra_a', '{}'), dtm_step('$b/?amount=30$extra_b', '$b/?amount=30$extra_b', '{}')], gid => '$gid')");
	return join ' | ', sql("SELECT dtm_wait('$gid')"), branches_of($node, $gid), balances();
}

is(saga('BA-04', '', ''), 'succeed | P S P S | 70|0 130|0', 'BA-04, BA-07, CS-05: all succeed');
is(saga('BA-05', '', '&refuse=1'), 'failed | S S S F | 70|0 130|0', 'BA-05: what was refused is not compensated, what was done is');
is($node->safe_psql('bank_b', "SELECT string_agg(op || ' ' || reason, ', ' ORDER BY op) FROM dtm_barrier.barrier WHERE gid = 'BA-05'"),
	'action compensate, compensate compensate', 'BA-05: a null compensation');
is(saga('BA-06', '&twice=1', '&twice=1'), 'succeed | P S P S | 40|0 160|0', 'BA-06: two barriers in one branch');
is(saga('BA-06b', '&twice=1', '&twice=1&refuse=1'), 'failed | S S S F | 40|0 160|0', 'BA-06: and both are undone');
is(call("$a/?amount=-30&gid=BA-04&trans_type=saga&branch_id=01&op=action") . ' ' . balances(), '200 40|0 160|0', 'a repeat is answered, and changes nothing');

# what the application does: register, then try
sub tcc
{
	my ($gid, @refuse) = @_;
	my $ok = 1;
	sql("SELECT dtm_prepare('tcc', '$gid')");
	for my $branch ([ '01', "$a/?amount=-30" ], [ '02', "$b/?amount=30" ])
	{
		my ($id, $url) = @$branch;
		sql("SELECT dtm_register_branch('$gid', '$id', '$url', '$url', '{}')");
		my $extra = grep({ $_ eq $id } @refuse) ? '&refuse=1' : '';
		$ok = call("$url$extra&gid=$gid&trans_type=tcc&branch_id=$id&op=try") == 200;
		last unless $ok;
	}
	sql($ok ? "SELECT dtm_submit('tcc', gid => '$gid')" : "SELECT dtm_abort('$gid', 'try said FAILURE')");
	return join ' | ', sql("SELECT dtm_wait('$gid')"), branches_of($node, $gid), balances();
}

is(tcc('BA-08'), 'succeed | P S P S | 10|0 190|0', 'BA-08, CS-06: all are confirmed');
is(tcc('BA-09', '02'), 'failed | S P S P | 10|0 190|0', 'BA-09: a try that was refused is cancelled, and nothing happens');
is(tcc('BA-09b', '01'), 'failed | S P | 10|0 190|0', 'CS-06: the first try is refused');

# BA-10: cancelled twice before the try comes
sql("SELECT dtm_prepare('tcc', 'BA-10'); SELECT dtm_register_branch('BA-10', '01', '$a/?amount=-30', '$a/?amount=-30', '{}')");
sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');
run_due($node, 300);
is(call("$a/?amount=-30&gid=BA-10&trans_type=tcc&branch_id=01&op=cancel"), 200, 'BA-10: another cancel');
is(call("$a/?amount=-30&gid=BA-10&trans_type=tcc&branch_id=01&op=try"), 200, 'BA-10: the try is suspended');
is(join(' | ', sql("SELECT dtm_status('BA-10')"), branches_of($node, 'BA-10'), balances()), 'failed | S P | 10|0 190|0', 'BA-10: nothing has moved');

# BA-03: an error in the business rolls its barrier back; CHECK (balance >= 0) is one
is(call("$a/?amount=-1000&gid=BA-03&trans_type=saga&branch_id=01&op=action"), 500, 'BA-03: an error');
is($node->safe_psql('bank_a', "SELECT count(*) FROM dtm_barrier.barrier WHERE gid = 'BA-03'"), '0', 'BA-03: leaves no barrier');

# an index that a REINDEX CONCURRENTLY has left behind: repeats are no errors
{
	my $snapshot = $node->background_psql('postgres');
	my $reindex = $node->background_psql('postgres', on_error_stop => 0);
	my $waits = "FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'";

	$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM dtm_barrier.barrier');
	$reindex->query_until(qr/started/, "\\echo started\nREINDEX INDEX CONCURRENTLY dtm_barrier.uniq_barrier;\n");
	ok(eventually($node, "SELECT count(*) = 1 $waits"), 'a REINDEX has built its index');
	is(sql("SELECT dtm_barrier('saga', 'reindex', '01', 'action'), dtm_barrier('saga', 'reindex', '01', 'action', '01')"), 't|f', 'a repeat meanwhile');
	sql("SELECT pg_cancel_backend(pid) $waits");
	ok(eventually($node, "SELECT count(*) = 0 $waits"), 'and is cancelled');
	is(sql("SELECT indisready, indisvalid FROM pg_index WHERE indexrelid = 'dtm_barrier.uniq_barrier_ccnew'::regclass"), 't|f', 'which leaves the index');
	is(sql("SELECT dtm_barrier('saga', 'reindex', '02', 'action'), dtm_barrier('saga', 'reindex', '02', 'action', '01')"), 't|f', 'a repeat afterwards');
	$reindex->quit;
	$snapshot->quit;
}

done_testing();
