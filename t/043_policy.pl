# Policies of steps with a coordinator: attempts that are limited, parked transactions, dead letters,
# conflicts in functions.  If this fails, a step is called too often or too rarely, nobody hears that
# something has been parked, or a resumed transaction does not go on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $busi = start_participant();
my $node = start_server('policy', conf => "dtm.retry_interval = 20ms\ndtm.retry_interval_max = 50ms\ndtm.alert_webhook = '$busi/webhook'\ndtm.alert_each = on\ndtm.alert_retry_limit = 100\n");
my $json = JSON::PP->new->canonical;
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN dtm_alert');
my $heard = '';

# What dtm_alert has told of a gid, when there are so many.
sub alerts
{
	my ($gid, $how_many) = @_;
	my @alerts;
	for (1 .. 600)
	{
		$heard .= $listener->query_safe('SELECT 1');
		@alerts = grep { $_->{gid} eq $gid && !exists $_->{kind} } map { $json->decode($_) } $heard =~ /"dtm_alert" with payload "(.*)" received/g;
		last if @alerts >= $how_many;
		select(undef, undef, undef, 0.05);
	}
	return @alerts;
}

sub webhooks
{
	my ($gid, $how_many) = @_;
	my @hooks;
	for (1 .. 600)
	{
		@hooks = grep { $_->{gid} eq $gid && !exists $_->{kind} } map { $json->decode($_->{body}) } grep { $_->{path} eq '/webhook' } calls_of();
		last if @hooks >= $how_many;
		select(undef, undef, undef, 0.05);
	}
	return @hooks;
}

sub number_of_calls { my ($path) = @_; return scalar(grep { $_->{path} eq $path } calls_of()); }
sub parked { my ($gid) = @_; return "SELECT count(*) FROM dtm.parked WHERE gid = '$gid'"; }

# ---------- attempts ----------

my %closed = (status => 503, body => 'closed');
my %gone = (status => 409, body => 'gone');
reply('/down', (\%closed) x 3);

sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/one', '$busi/undo', '{}'), dtm_step('$busi/down', '', '{}', '{\"max_attempts\": 3}')], gid => 'aborts')");
is(sql("SELECT dtm_wait('aborts')"), 'failed', 'an action that keeps failing rolls its saga back');
is(sql("SELECT rollback_reason FROM dtm.transactions WHERE gid = 'aborts'"), "url:$busi/down failed (attempts: 3): closed", 'with the reason');
is(number_of_calls('/down'), 3, 'after as many attempts as it may have');
is(number_of_calls('/undo'), 1, 'and what was done is undone');

# ---------- parked ----------

reply('/down', (\%closed) x 4);
reply('/no', \%gone);
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/two', '$busi/down', '{}', '{\"compensate_max_attempts\": 2}'), dtm_step('$busi/no', '', '{}')], gid => 'parks')");
ok(eventually($node, parked('parks') . " AND op = 'compensate' AND status = 'aborting' AND attempts = 2", '1'), 'a compensation that keeps failing parks its saga');
my @told = alerts('parks', 1);
is($json->encode(\@told), $json->encode([ { gid => 'parks', status => 'aborting', branch => "$busi/down", error => 'failed (attempts: 2): closed', retry_count => 2, event => 'parked' } ]),
	'a NOTIFY tells of it') or diag($json->encode(\@told));
is($json->encode([ webhooks('parks', 1) ]), $json->encode(\@told), 'and the webhook');
like(slurp_file($node->logfile), qr/WARNING:  global transaction "parks" is parked: failed \(attempts: 2\): closed\n.*HINT:.*dtm_resume\(gid\)/, 'and the log');

# a restart changes nothing
crash_server($node);
$listener->quit;
$listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN dtm_alert');
$heard = '';
ok(eventually($node, "SELECT state FROM dtm.stat_coordinator", 'running'), 'the server is back');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/after', payload => '{}')], gid => 'after')");
is(sql("SELECT dtm_wait('after')"), 'succeed', 'others go on');
is(sql(parked('parks')), '1', 'a restart does not resume it');

my $down = number_of_calls('/down');
is(sql("SELECT dtm_resume(gid) FROM dtm.parked WHERE url LIKE '%/down'"), 't', 'somebody resumes it');
is(scalar(alerts('parks', 1)), 1, 'it is parked again, and that is told again');
is(number_of_calls('/down') - $down, 2, 'its attempts started anew');
is(sql("SELECT dtm_resume('parks')"), 't', 'resumed');
is(sql("SELECT dtm_wait('parks')"), 'failed', 'and rolled back at last');
is(sql("SELECT dtm_resume('parks')"), 'f', 'one that has ended is not parked');

# a message that is refused, with a policy and without
reply('/gone', (\%gone) x 4);
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/gone', payload => '{}', options => '{\"on_exhausted\": \"park\"}')], gid => 'refused')");
ok(eventually($node, parked('refused') . " AND reason = 'permanent failure: gone' AND attempts = 1", '1'), 'a message that is refused is parked at once');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/gone', payload => '{}')], gid => 'dtm')");
is(sql("SELECT dtm_wait('dtm')"), 'succeed', 'JR-02: without a policy, it is called again');
is(sql("SELECT count(*) FROM dtm.calls WHERE gid = 'dtm' AND result = 'FAILURE'"), '3', 'as often as need be');
sql("SELECT dtm_force_stop('refused')");
is(sql("SELECT dtm_resume('refused')"), 'f', 'one that somebody has stopped is not parked');

# who has said which responses are final has said that they are not to be asked for again
my %listed = (status => 422, body => 'no');
reply('/listed', \%listed);
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/listed', payload => '{}', options => '{\"final\": \"4xx\"}')], gid => 'listed')");
ok(eventually($node, parked('listed') . " AND reason = 'permanent failure: no' AND attempts = 1", '1'), 'a step of a message, by its own list');
sql("SELECT dtm_resume('listed')");
is(sql("SELECT dtm_wait('listed')"), 'succeed', 'it goes on when somebody resumes it');
sql("CREATE SERVER listing FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi', final '422')");
reply('/refund', \%listed);
reply('/gone', \%gone);
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('server:listing/pay', 'server:listing/refund', '{}'), dtm_step('$busi/gone', '', '{}')], gid => 'refunds')");
reply('/confirm', \%listed);
sql("SELECT dtm_prepare('tcc', 'confirms')");
sql("SELECT dtm_register_branch('confirms', '01', 'server:listing/confirm', '')");
sql("SELECT dtm_submit('tcc', gid => 'confirms')");
for my $gid (qw(refunds confirms))
{
	ok(eventually($node, parked($gid) . " AND reason = 'permanent failure: no' AND attempts = 1", '1'), "$gid: by the list of its server");
	sql("SELECT dtm_resume('$gid')");
}
# a branch that is registered has the options of a step
reply('/second', (\%closed) x 2);
sql("SELECT dtm_prepare('tcc', 'second')");
sql("SELECT dtm_register_branch('second', '01', '$busi/second', '', options => '{\"max_attempts\": 2}')");
sql("SELECT dtm_submit('tcc', gid => 'second')");
ok(eventually($node, parked('second') . " AND op = 'confirm' AND attempts = 2", '1'), 'a confirm has a limit');
is(sql("SELECT dtm_wait('refunds'), dtm_wait('confirms')"), 'failed|succeed', 'they go on, too');

# ---------- dead letters ----------

reply('/gone', \%gone);
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/gone', payload => '{\"n\": 1}', options => '{\"on_exhausted\": \"discard\"}'), dtm_step('$busi/next', payload => '{}')], gid => 'letter', options => '{\"notify\": true}')");
is(sql("SELECT dtm_wait('letter')"), 'failed', 'a message of which a step was discarded has failed');
is(number_of_calls('/next'), 1, 'but its other steps are done');
is(sql("SELECT branch_id, url, convert_from(payload, 'UTF8'), reason, attempts FROM dtm.dead_letters WHERE gid = 'letter'"),
	"01|$busi/gone|{\"n\": 1}|permanent failure: gone|1", 'the step is a dead letter');
@told = alerts('letter', 1);
is($told[0]{event}, 'discarded', 'a NOTIFY tells of it');
is(scalar(webhooks('letter', 1)), 1, 'and the webhook');
# send it once more
# sent again, it is alone, and has the results of what was delivered
reply('/give', { body => '{"id": 42}' });
reply('/take', { status => 409, body => 'no' });
sql(<<"SQL");
SELECT dtm_submit('msg', '[{"name": "give", "action": "$busi/give"}, {"action": "$busi/take", "payload": {"got": {"\$result": "\$.give.id"}}, "on_exhausted": "discard"}, {"action": "$busi/rest"}]'::jsonb,
  'letter-1', '{"results": true}')
SQL
is(wait_for('letter-1'), 'failed', 'another one');
sql("SELECT dtm_resubmit('letter-1', 'letter-2', 'the service is mended')");
is(wait_for('letter-2'), 'succeed', 'it is submitted again');
is(one_line('letter-1') . ' and ' . one_line('letter-2'), 'give take rest and take', 'what was delivered is not sent again');
is((calls_of('letter-2'))[0]{body}, '{"got":42}', 'what was discarded is, as it was');
is(sql("SELECT string_agg(branch_id || ' ' || status, ', ' ORDER BY ordinal) FROM dtm.branches WHERE gid = 'letter-2'"), '01 succeed, 02 succeed, 03 succeed', 'all have succeeded');
is(sql("SELECT detail FROM dtm.acts WHERE gid = 'letter-1'"), '{"steps": "discarded", "new_gid": "letter-2"}', 'it is on record');
sql("SELECT dtm_submit('msg', ARRAY[ROW(url, '', payload, NULL)::dtm_step], gid => 'again') FROM dtm.dead_letters WHERE gid = 'letter'");
is(sql("SELECT dtm_wait('again')"), 'succeed', 'a dead letter can be sent again');
my ($again) = grep { $_->{path} eq '/gone' } calls_of('again');
is($again->{body}, '{"n": 1}', 'with its payload');

# ---------- functions ----------

sql("CREATE SEQUENCE tries");
sql("CREATE FUNCTION conflicts(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
	  IF nextval('tries') <= (payload ->> 'n')::int THEN RAISE 'in the way' USING ERRCODE = payload ->> 'code'; END IF;
	END \$\$");
for my $code ('40001', '40P01')
{
	sql("ALTER SEQUENCE tries RESTART");
	sql("SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.conflicts', '', '{\"n\": 5, \"code\": \"$code\"}', '{\"max_attempts\": 1}')], gid => 'conflict $code')");
	is(sql("SELECT dtm_wait('conflict $code')"), 'succeed', "$code: a function is called again");
	is(sql("SELECT count(*), max(nextval('tries')) FROM dtm.calls WHERE gid = 'conflict $code'"), '1|7', "$code: the failures are not counted");
}
# one that is never out of the way is a failure like any other
sql("ALTER SEQUENCE tries RESTART");
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.conflicts', '', '{\"n\": 1000000, \"code\": \"40001\"}', '{\"max_attempts\": 2}')], gid => 'conflicts')");
is(sql("SELECT dtm_wait('conflicts')"), 'failed', 'not for ever');
is(sql("SELECT count(*), max(nextval('tries')) FROM dtm.calls WHERE gid = 'conflicts' AND error = 'in the way'"), '2|22', 'ten tries for each attempt');

# a function whose policy parks it: its worker writes that, and the webhook is called
sql("CREATE FUNCTION broken(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'broken'; END \$\$");
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.broken', payload => '{}', options => '{\"max_attempts\": 2}')], gid => 'function')");
ok(eventually($node, parked('function') . " AND url = 'sql:public.broken' AND reason = 'failed (attempts: 2): broken'", '1'), 'a function that keeps failing is parked');
is((alerts('function', 1))[0]{event}, 'parked', 'a NOTIFY tells of it');
is((webhooks('function', 1))[0]{event}, 'parked', 'and the webhook');
sql("CREATE OR REPLACE FUNCTION broken(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS ''");
sql("SELECT dtm_resume(gid) FROM dtm.parked");
is(sql("SELECT dtm_wait('function')"), 'succeed', 'and goes on when it is resumed');

# ---------- what another row undoes ----------

# The two are read together.  One can't be written, and takes with it that the other one was parked.
sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
	  IF (SELECT r.gid FROM dtm.request r WHERE r.id = OLD.id) = 'unwritable' THEN RAISE 'not this one'; END IF;
	  RETURN OLD;
	END \$\$;
	CREATE TRIGGER refuse BEFORE DELETE ON dtm.active FOR EACH ROW EXECUTE FUNCTION refuse();
	CREATE ROLE gone IN ROLE dtm_user");
my $log = -s $node->logfile;
$node->append_conf('postgresql.conf', "dtm.retry_interval_max = 1h\n");
$node->reload;
sql("BEGIN; SET ROLE gone; SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/one')], gid => 'ownerless');
	RESET ROLE; REVOKE dtm_user FROM gone; DROP ROLE gone;
	SELECT dtm_submit('msg', gid => 'unwritable'); COMMIT");
ok(eventually($node, parked('ownerless'), '1'), 'a transaction without a role is parked though another can not be written');
like(slurp_file($node->logfile, $log), qr/cannot process global transaction "unwritable": not this one/, 'which is told');
like(slurp_file($node->logfile, $log), qr/could not write \d+ global transactions, writing them one by one/, 'after they were written together');
sql("DROP TRIGGER refuse ON dtm.active; SELECT dtm_retry_now('unwritable')");
is(wait_for('unwritable'), 'succeed', 'it ends when it can be written');
$node->append_conf('postgresql.conf', "dtm.retry_interval_max = 50ms\n");
$node->reload;

# ---------- time-outs of a step ----------

reply({ path => '/slow', forever => JSON::PP::true }, { delay => 3 });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/slow', '', '{}', '{\"request_timeout\": 0.05, \"max_attempts\": 1}')], gid => 'slow')");
is(sql("SELECT dtm_wait('slow')"), 'failed', 'a step has its own request_timeout');
like(sql("SELECT rollback_reason FROM dtm.transactions WHERE gid = 'slow'"), qr/attempts: 1\): .*(timed out|timeout)/i, 'and says so');
sql("CREATE FUNCTION sleeps(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(100)'");
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.sleeps', '', '{}', '{\"request_timeout\": 0.05, \"max_attempts\": 1}')], gid => 'sleeps')");
is(sql("SELECT dtm_wait('sleeps')"), 'failed', 'a function, too');

# ---------- what exceeds a limit of the server ----------

# However often it is called: it is permanent, as PostgreSQL's class 54 says.
sql("CREATE FUNCTION deep(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM public.deep(gid, branch_id, op, payload); END'");
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.deep', '')], gid => 'deep'), dtm_submit('msg', ARRAY[dtm_step('sql:public.deep')], gid => 'deep message')");
is(wait_for('deep'), 'failed', 'a function that is too deep for the stack rolls a saga back');
like(reason('deep'), qr/cannot be called: stack depth limit exceeded/, 'and says why');
ok(eventually($node, parked('deep message'), '1'), 'and parks a message');
is(sql("SELECT string_agg(gid || ' ' || result, ', ' ORDER BY gid) FROM dtm.calls WHERE gid LIKE 'deep%'"), 'deep PERMANENT, deep message PERMANENT', 'after one call');

# by now it would have been heard if it had been told for nothing
is(scalar(webhooks('ownerless', 1)), 1, 'the webhook hears once of what is parked');

$listener->quit;
$node->stop;
done_testing();
