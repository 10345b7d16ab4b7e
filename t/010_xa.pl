# XA with participants in PostgreSQL, as docs/sql-reference.md describes them.  If this fails, one
# participant commits and another one rolls back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('xa', conf => "max_prepared_transactions = 20\ndtm.retry_interval = 50ms\n");
my %url = map { $_ => start_bank($node, $_) } 'bank_a', 'bank_b';

# The local transaction of a branch: barrier, business, registration, prepare.
# Returns whether it came that far.
sub branch
{
	my ($gid, $branch_id, $bank, $amount) = @_;
	my $session = $node->background_psql($bank, on_error_stop => 0);
	my $ok = $session->query("BEGIN; SELECT dtm_barrier('xa', '$gid', '$branch_id', 'action')") =~ /t/;
	if ($ok)
	{
		$session->{stderr} = '';
		$session->query("UPDATE account SET balance = balance + $amount");
		$ok = $session->{stderr} eq '';
	}
	if ($ok)
	{
		my ($rc) = $node->psql('postgres', "SELECT dtm_register_branch('$gid', '$branch_id', '$url{$bank}/')");
		$ok = $rc == 0;
	}
	$session->query($ok ? "PREPARE TRANSACTION '$gid-$branch_id'" : 'ROLLBACK');
	$session->quit;
	return $ok;
}

sub balances { return in_banks('SELECT balance FROM account'); }
sub prepared { return sql('SELECT count(*) FROM pg_prepared_xacts'); }

sql("SELECT dtm_prepare('xa', 'XA-01')");
ok(branch('XA-01', '01', 'bank_a', -30) && branch('XA-01', '02', 'bank_b', 30), 'XA-01: both are prepared');
is(balances() . ' ' . prepared(), '100 100 2', 'XA-01: and not seen yet');
sql("SELECT dtm_submit('xa', gid => 'XA-01')");
is(sql("SELECT dtm_wait('XA-01')"), 'succeed', 'XA-01: submitted');
is(balances() . ' ' . prepared(), '70 130 0', 'XA-01: both are committed');
is(branches_of($node, 'XA-01'), 'P S P S', 'XA-01: branches');

# XA-02: committed by hand before: nothing to commit is success
sql("SELECT dtm_prepare('xa', 'XA-02')");
branch('XA-02', '01', 'bank_a', -10);
branch('XA-02', '02', 'bank_b', 10);
$node->safe_psql('bank_a', "COMMIT PREPARED 'XA-02-01'");
sql("SELECT dtm_submit('xa', gid => 'XA-02')");
is(sql("SELECT dtm_wait('XA-02')") . ' ' . balances(), 'succeed 60 140', 'XA-02: a branch that knows nothing of the xid has succeeded');

# XA-03: the second business fails before it registers
sql("SELECT dtm_prepare('xa', 'XA-03')");
ok(branch('XA-03', '01', 'bank_b', 30), 'XA-03: the first is prepared');
ok(!branch('XA-03', '02', 'bank_a', -1000), 'XA-03: the second refuses');
sql("SELECT dtm_abort('XA-03')");
is(sql("SELECT dtm_wait('XA-03')") . ' ' . balances() . ' ' . prepared(), 'failed 60 140 0', 'XA-03: rolled back');
is(branches_of($node, 'XA-03'), 'S P', 'XA-03: branches');

# a branch that comes after the end: the registration is refused, and where the
# rollback was there first, the barrier
ok(!branch('XA-03', '03', 'bank_a', -1), 'XA-03: too late to register');
ok(!branch('XA-03', '01', 'bank_b', 30), 'XA-03: too late for the barrier');
is(balances() . ' ' . prepared(), '60 140 0', 'XA-03: nothing is left behind');

# orphans: stopped by force, and known to nobody
sql("SELECT dtm_prepare('xa', 'orphan')");
branch('orphan', '01', 'bank_a', -30);
is(sql("SELECT count(*) FROM dtm.orphans"), '0', 'one that is open is no orphan');
sql("SELECT dtm_force_stop('orphan')");
is(sql("SELECT gid, branch_id, status, database, statement FROM dtm.orphans"), "orphan|01|failed|bank_a|ROLLBACK PREPARED 'orphan-01'", 'dtm.orphans');
$node->safe_psql('bank_a', sql("SELECT statement FROM dtm.orphans"));
is(sql("SELECT count(*) FROM dtm.orphans") . ' ' . balances(), '0 60 140', 'and its statement ends it');

done_testing();
