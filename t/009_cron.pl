# Jobs of pg_cron.  If this fails, finished transactions are not removed, or a scheduled
# transaction is not submitted, or submitted twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $extensions = `pg_config --sharedir`;
chomp $extensions;
plan skip_all => 'pg_cron is not installed' unless -e "$extensions/extension/pg_cron.control";

my $node = start_server('cron', preload => 'dtm, pg_cron', extension => 0, conf => <<'CONF');
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 20
timezone = 'Asia/Kathmandu'
CONF
my $busi = start_participant();

sql('CREATE EXTENSION dtm');
my ($rc, $out, $err) = $node->psql('postgres', 'SELECT dtm_cron_install()');
like($err, qr/pg_cron is not installed in this database.*CREATE EXTENSION pg_cron/s, 'before CREATE EXTENSION pg_cron');
sql('CREATE EXTENSION pg_cron');

# a role that may use pg_cron
sql("CREATE ROLE app LOGIN; GRANT dtm_user TO app; GRANT USAGE ON SCHEMA cron TO app; CREATE ROLE boss LOGIN; GRANT dtm_admin TO boss; GRANT USAGE ON SCHEMA cron TO boss");

# bad input; $busi is not called by any of it
my $request = "{\"trans_type\": \"msg\", \"steps\": [{\"action\": \"$busi/Tick\"}], \"payloads\": [\"{}\"]}";
for my $case (
	[ "SELECT dtm_schedule('n', '* * * *', '$request')", qr/invalid schedule/ ],
	[ "SELECT dtm_schedule('n', NULL, '$request')", qr/argument "cron" must not be null/ ],
	[ "SELECT dtm_schedule('a b', '* * * * *', '$request')", qr/invalid schedule name/ ],
	[ "SELECT dtm_schedule(NULL, '* * * * *', '$request')", qr/argument "name" must not be null/ ],
	[ "SELECT dtm_schedule('n', '* * * * *', NULL)", qr/argument "request" must not be null/ ],
	[ "SELECT dtm_schedule('n', '* * * * *', '{\"trans_type\": \"tcc\"}')", qr/cannot schedule a global transaction of trans_type "tcc"/ ],
	[ "SELECT dtm_schedule('n', '* * * * *', '{\"trans_type\": \"msg\", \"steps\": [{\"action\": \"ftp://a/\"}], \"payloads\": [\"\"]}')", qr/cannot be called/ ],
	[ "SELECT dtm_schedule('n', '* * * * *', '{\"trans_type\": \"msg\", \"step\": []}')", qr/unknown key "step"/ ],
	[ "SELECT dtm_schedule('n', '* * * * *', '{\"trans_type\": \"msg\", \"steps\": []}')", qr/"msg" has no steps/ ],
	[ "SELECT dtm_cron_install('often')", qr/invalid schedule/ ],
	[ "SELECT dtm_cron_install(NULL)", qr/argument "schedule" must not be null/ ])
{
	my ($statement, $error) = @$case;
	($rc, $out, $err) = $node->psql('postgres', $statement);
	like($err, $error, $statement =~ s/\(.*//r . ": $error");
}
is(sql("SELECT count(*) FROM dtm.transactions"), '0', 'looking at a request leaves nothing');
is(sql("SELECT count(*) FROM cron.job"), '0', 'nor does bad input');

# the examples of the documentation
{
	my $text = slurp_file("$FindBin::RealBin/../docs/sql-reference.md");
	my @blocks = $text =~ /^```sql pg_cron\n(.*?)^```/msg;
	ok(@blocks > 0, 'there are examples');
	for my $statement (map { split /(?<=\n)(?=SELECT)/ } @blocks)
	{
		my ($expected) = $statement =~ /;\s*-- (.*)\n\z/;
		is(sql($statement), $expected, 'example: ' . substr($statement, 0, 40));
	}
}

# a job that somebody has changed does not hide the others
sql("SELECT dtm_schedule('good', '0 0 1 1 *', '$request'), dtm_schedule('bad', '0 0 1 1 *', '$request')");
sql(q~UPDATE cron.job SET command = $$SELECT dtm.submit_scheduled('bad', '{"broken')$$ WHERE jobname = 'dtm:bad'~);
is(sql("SELECT string_agg(name || ' ' || COALESCE(request ->> 'trans_type', 'unknown'), ', ' ORDER BY name) FROM dtm.schedules WHERE cron = '0 0 1 1 *'"), 'bad unknown, good msg', 'a schedule with broken JSON is shown beside the others');
sql("SELECT dtm_unschedule('good'), dtm_unschedule('bad')");

# by the clock
sql("SET SESSION AUTHORIZATION app; SELECT dtm_schedule('tick', '* * * * *', '$request')");
sql("SET SESSION AUTHORIZATION boss; SELECT dtm_cron_install('* * * * *')");
is(sql("SELECT string_agg(jobname || ' ' || username, ', ' ORDER BY jobid) FROM cron.job"), 'dtm:tick app, dtm_cleanup boss', 'the jobs, and who runs them');
sql("SET SESSION AUTHORIZATION app; SELECT dtm_schedule('tick', '* * * * *', '$request')");
is(sql("SELECT count(*) FROM cron.job"), '2', 'scheduled again, it is the same job');
# something to be removed: by the job, which the coordinator leaves it to
sql("SELECT dtm_submit('msg', gid => 'old'), dtm_submit('msg', gid => 'new')");
sql("SELECT dtm_wait('old'), dtm_wait('new')");
sql("UPDATE dtm.request SET created = created - interval '8 days' WHERE gid = 'old'; UPDATE dtm.finished SET finished = finished - interval '8 days' WHERE id = (SELECT id FROM dtm.request WHERE gid = 'old')");
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.transactions WHERE gid LIKE 'tick@%' AND status = 'succeed'"), 'a scheduled transaction comes');
is(sql("SELECT gid ~ '^tick@[0-9]{8}T[0-9]{4}Z\$', submitted_by, abs(extract(epoch FROM created - to_timestamp(substr(gid, 6) || '+00', 'YYYYMMDD\"T\"HH24MI\"Z\"TZH'))) < 120 FROM dtm.transactions WHERE gid LIKE 'tick@%' LIMIT 1"),
	't|app|t', 'its gid is the minute in UTC, and it is who scheduled it');
ok(eventually($node, "SELECT count(*) = 0 FROM dtm.transactions WHERE gid = 'old'"), 'and what has finished is removed');
is(sql("SELECT DISTINCT command, status FROM cron.job_run_details WHERE command LIKE '%cleanup%'"), 'SELECT public.dtm_cleanup()|succeeded', 'by the job');
is(sql("SELECT dtm_status('new')"), 'succeed', 'not what is new');

# a tick that is repeated, while it runs and after it has ended
is(sql("BEGIN; SELECT dtm.submit_scheduled('again', '$request') = dtm.submit_scheduled('again', '$request'); COMMIT"), 't', 'a repeated tick is the same transaction');
sql("SELECT dtm_wait(gid) FROM dtm.transactions WHERE gid LIKE 'again@%'");
my ($gid) = split /\n/, sql("SELECT gid FROM dtm.transactions WHERE gid LIKE 'again@%' ORDER BY id LIMIT 1");
is(scalar(calls_of($gid)), 1, 'it was called once');
is(sql("BEGIN; UPDATE dtm.request SET gid = 'again\@' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MI\"Z\"') WHERE gid = '$gid'; SELECT dtm.submit_scheduled('again', '$request') LIKE 'again@%'; ROLLBACK"), 't', 'also when it has finished');

sql("SET SESSION AUTHORIZATION app; SELECT dtm_unschedule('tick')");
sql("SET SESSION AUTHORIZATION boss; SELECT dtm_cron_uninstall()");
is(sql("SELECT count(*) FROM cron.job"), '0', 'and back');
($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_unschedule('tick')");
like($err, qr/could not find valid entry for job/, 'what is not scheduled is said');

done_testing();
