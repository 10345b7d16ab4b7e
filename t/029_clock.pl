# The wall clock is set, forward and back, while the server runs.  If this fails, a pause lasts
# as long as the clock was set back, or what is due is not seen.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

# A gettimeofday() of our own, preloaded into the server; the machine's clock stays what it is.
my $dir = PostgreSQL::Test::Utils::tempdir();
my ($library, $file) = ("$dir/set_clock.so", "$dir/offset");
plan skip_all => 'no C compiler'
  if system('cc', '-shared', '-fPIC', '-o', $library, "$FindBin::RealBin/../test/set_clock.c") != 0;

# The offset from the true time, in hours; in place, as the file is mapped.
sub set_clock
{
	my ($hours) = @_;
	open my $handle, (-e $file ? '+<' : '>'), $file or die "open: $!";
	syswrite($handle, pack('q', $hours * 3600)) == 8 or die "write: $!";
	close $handle;
	return;
}

set_clock(0);
my $node;
{
	local %ENV = (%ENV, LD_PRELOAD => $library, SET_CLOCK => $file);
	$node = start_server('clock', conf => 'dtm.retry_interval = 1h');
}
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
my $pid = sql('SELECT pid FROM dtm.stat_coordinator');

# Any word wakes the coordinator, which the machine's timer does when a true clock is set.
sub wake
{
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('')])");
	return;
}

# forward: what has become due by that is called
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/tomorrow')], gid => 'tomorrow', options => '{\"delay\": 86400}')");
is(sql("SELECT dtm_status('tomorrow')"), 'submitted', 'due in a day');
set_clock(25);
wake();
is(sql("SELECT dtm_wait('tomorrow', '60 s')"), 'succeed', 'the clock is set forward by more: it is called');

# back: what is submitted now is due before what has been done
set_clock(-1);
wake();
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/back')], gid => 'back')");
is(sql("SELECT dtm_wait('back', '60 s')"), 'succeed', 'the clock is set back: what is submitted is called');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/later')], gid => 'later', options => '{\"delay\": 1}')");
is(sql("SELECT dtm_wait('later', '60 s')"), 'succeed', 'what becomes due by the new time, too');
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/many')], gid => 'many-' || n)) FROM generate_series(1, 200) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'many%' AND status = 'succeed'", '200'), 'and what a search has to find');

# back, while the coordinator pauses after an error
sql('ALTER TABLE dtm.attempt RENAME TO attempt_away');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/paused')], gid => 'paused')");
ok(eventually($node, "SELECT state FROM dtm.stat_coordinator", 'starting'), 'an error that concerns all');
set_clock(-3);
sql('ALTER TABLE dtm.attempt_away RENAME TO attempt');
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running'), 'its pause goes by the time that passes');
set_clock(-1);
wake();
is(sql("SELECT dtm_wait('paused', '60 s')"), 'succeed', 'and it goes on');

is(sql('SELECT pid FROM dtm.stat_coordinator'), $pid, 'the coordinator is the same');
my $log = slurp_file($node->logfile);
like($log, qr/the clock was changed by \d+ ms/, 'the log says that the clock was set forward');
like($log, qr/the clock was changed by -\d+ ms/, 'and back');
unlike($log, qr/TRAP|PANIC/, 'nothing is broken');
done_testing();
