# The page for three in the morning, and its questions as variables of psql.  If this fails, an
# operator types a statement that does not work.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('operating', conf => "dtm.retry_interval = '1h'\ndtm.retry_interval_max = '1h'\ndtm.alert_retry_limit = 1\n");
my ($busi) = start_participant();
my $docs = "$FindBin::RealBin/../docs";

reply({ path => '/Down', forever => JSON::PP::true }, { status => 503, body => '{"message": "no"}' });
reply({ path => '/Ongoing', forever => JSON::PP::true }, { status => 425, body => 'ONGOING' });
reply('/Refuse', { status => 409, body => 'sold out' });
sql(<<"SQL");
CREATE ROLE shop IN ROLE dtm_user;
CREATE ROLE gone IN ROLE dtm_user;
CREATE ROLE operator LOGIN IN ROLE dtm_admin, shop;
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down', payload => '{"id": 4711}')], 'order-1');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Ongoing')], 'order-2');
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Ok', '$busi/Undo'), dtm_step('$busi/Down', '$busi/Undo')], 'order-3', '{"on_finish": "$busi/Told"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down')], 'order-4');
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Refuse', '')], 'order-6');
SET ROLE gone; SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Ok')], 'order-5', '{"delay": 3600}');
RESET ROLE; REVOKE dtm_user FROM gone; DROP ROLE gone;
SQL
ok(eventually($node, "SELECT count(*) FROM dtm.calls WHERE result IN ('ERROR', 'ONGOING')", '4'), 'some are stuck');
is(wait_for('order-6'), 'failed', 'one has failed');

# Runs every statement of a page, as an operator; returns the page.  What numbered ones return is in %answer.
my %answer;

sub run_page
{
	my ($page) = @_;
	my $number;
	my $text = slurp_file("$docs/$page");

	$text =~ s{http://shop/}{$busi/}g;
	while ($text =~ /^```sql\n(.*?)^```/msg)
	{
		my $statement = '';
		for my $line (split /\n/, $1)
		{
			$number = $1 if $line =~ /^-- (\d+)\. /;
			next if $line =~ /^--/;
			$statement .= "$line\n";
			next unless $line =~ /;$/;
			my ($rc, $out, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION operator; $statement");
			$answer{$number} = $out if defined $number;
			(my $name = $statement) =~ s/\s+/ /g;
			is($err, '', substr($name, 0, 80));
			$statement = '';
		}
		is($statement, '', "$page: a block ends with its last statement");
	}
	return $text;
}

my $text = run_page('operating.md');
# it did what the page says
is(sql("SELECT url FROM dtm.branches WHERE gid = 'order-1'"), "$busi/Pay", 'the URL is mended');
is(wait_for('order-1'), 'succeed', 'and called');
is(wait_for('order-2'), 'succeed', 'the one that was answered for goes on');
is(wait_for('order-3'), 'failed', 'the saga is rolled back');
is(sql("SELECT string_agg(branch_id || ' ' || op || ' ' || state, ' ' ORDER BY ordinal) FROM dtm.branches WHERE gid = 'order-3'"),
	'01 compensate succeeded 01 action succeeded 02 compensate succeeded 02 action given up', 'what may have run is undone');
is(sql("SELECT submitted_by FROM dtm.transactions WHERE gid = 'order-5'"), 'shop', 'the one without a role has one');
is(sql("SELECT string_agg(DISTINCT role::text, ' ') FROM dtm.acts"), 'operator', 'and it is known who did it');
ok(eventually($node, "SELECT state FROM dtm.transactions WHERE parent = 'order-3'", 'succeeded'), 'the message about an end names its parent');

# the questions of questions.md
sql(<<"SQL");
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down')], g) FROM unnest('{order-11,order-12,order-15}'::text[]) g;
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Ok', '$busi/Undo'), dtm_step('$busi/Down', '$busi/Undo')], 'order-13');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Ongoing')], 'order-14');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down', options => '{"max_attempts": 1}')], 'order-16');
SELECT dtm_prepare('saga', 'order-17', ARRAY[dtm_step('http://old-shop/Out', 'http://old-shop/OutUndo'), dtm_step('http://other/In', 'http://old-shop/InUndo')]);
CREATE ROLE watcher IN ROLE dtm_monitor;
SQL
ok(eventually($node, "SELECT count(DISTINCT gid) FROM dtm.calls WHERE gid ~ '^order-1[1-6]\$' AND result IN ('ERROR', 'ONGOING')", '6'), 'some are stuck again');
my @numbers = run_page('questions.md') =~ /^(?:-- )?(\d+)\. /mg;
is("@numbers", join(' ', 1 .. @numbers), 'the questions are numbered');
cmp_ok(scalar(@numbers), '>=', 40, 'and there are forty at least');
is(sql("SELECT string_agg(url, ' ' ORDER BY ordinal) FROM dtm.branches WHERE gid = 'order-17'"),
	"$busi/OutUndo $busi/Out $busi/InUndo http://other/In", 'all addresses of a service that has moved are changed');
is($answer{45}, 'watcher', 'who may look and change nothing');
is(wait_for('order-12'), 'succeed', 'one with its URL mended goes on');
is(wait_for('order-13'), 'failed', 'a saga is rolled back');
is(wait_for('order-14'), 'succeed', 'one that was answered for goes on');
is(sql("SELECT string_agg(DISTINCT what, ', ' ORDER BY what) FROM dtm.acts WHERE gid ~ '^order-1[1-6]\$'"),
	'abort, edit step, force stop, resubmit, resume, retry now, skip as succeeded', 'they are recorded');

# as variables of psql
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down')], g) FROM unnest('{retried,stopped}'::text[]) g");
ok(eventually($node, "SELECT count(*) FROM dtm.stuck WHERE gid IN ('retried', 'stopped')", '2'), 'two more are stuck');
my $sharedir = $node->config_data('--sharedir');
my $file = "$sharedir/extension/dtm.psql";
my @variables = slurp_file($file) =~ /^\\set (\w+) '[^']/mg;
ok(@variables > 20, "$file is installed");
for my $variable (grep { !/^(retry|abort|stop|resubmit)$/ } @variables)
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\i $file\n\\set gid order-3\n:$variable\n", extra_params => [ '-U', 'operator' ]);
	is($err, '', ":$variable");
	like($out, qr/state\|failed/, ':why says why') if $variable eq 'why';
	like($out, qr/^retried\|retrying\|/m, ':stuck has what is stuck') if $variable eq 'stuck';
}
my ($rc, $out, $err) = $node->psql('postgres', <<"SQL", extra_params => [ '-U', 'operator' ]);
\\i $file
\\set gid retried
\\set reason 'it''s back'
:retry
:stop
:resubmit
\\set gid order-3
:abort
SQL
like($err, qr/^psql:<stdin>:8: ERROR:  cannot abort global transaction "order-3": its current status is 'failed'/, 'acts');
is(sql("SELECT string_agg(what || ': ' || reason, ', ' ORDER BY ordinal) FROM dtm.acts WHERE gid = 'retried'"),
	"retry now: it's back, force stop: it's back, resubmit: it's back", 'with a reason');
like($text, qr/\b\Q$_\E\b/, "operating.md has waits_for $_") for sql("SELECT string_agg(DISTINCT m[1], ' ') FROM pg_proc, regexp_matches(prosrc, \$\$waits_for := '(\\w+)'\$\$, 'g') m WHERE proname IN ('dtm_explain', 'explain_call')") =~ /\w+/g;

done_testing();
