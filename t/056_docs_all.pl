# Every code block of the README and of the documentation: it runs, or it says why it cannot.  If this
# fails, a page has an example that does not work, or that nobody has tried.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use DocsTest;
use File::Find qw(find);
use HTTP::Tiny;
use IPC::Run ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";

# Pages whose SQL another test runs, which has to name the page.
my %runs_in = (
	'docs/any-service.md' => 't/040_any_service.pl',
	'docs/compatibility.md' => 't/005_docs.pl',
	'docs/operating.md' => 't/046_operating.pl',
	'docs/questions.md' => 't/046_operating.pl',
	'docs/servers.md' => 't/005_docs.pl',
	'docs/sql-reference.md' => 't/005_docs.pl');

# The others run here, in one database, in the order in which a reader comes to them: what one page creates
# must not be in the way of the next.  Pages that are not in this list come last.
my @order = map { "docs/$_.md" } qw(getting-started outbox topics scheduling tcc xa workflows participants results
  outcome recipes testing-applications moving managed deploying poolers high-availability gateway upgrading uninstalling);
unshift @order, 'README.md';

my @pages;
find({ no_chdir => 1, wanted => sub {
	$File::Find::prune = 1 if m{/(?:\.git|node_modules|target|tmp_check)\z};
	push @pages, s{^\Q$top\E/}{}r if /\.md\z/;
} }, $top);
@pages = sort @pages;

# ---------- links ----------

my %anchors;
for my $page (@pages)
{
	my $folder = $page =~ s{[^/]*\z}{}r;
	my @broken;

	for my $link (links_of($page))
	{
		my ($file, $anchor) = @$link;
		my $target = $file eq '' ? $page : "$folder$file";

		1 while $target =~ s{(?:^|(?<=/))[^/.]+/\.\./}{};
		if (!-e "$top/$target")
		{
			push @broken, $file;
		}
		elsif (defined $anchor && $target =~ /\.md\z/)
		{
			$anchors{$target} ||= anchors_of($target);
			push @broken, "$file#$anchor" unless $anchors{$target}{$anchor};
		}
	}
	is("@broken", '', "$page: links");
}

# ---------- what the pages need ----------

chdir $top or die "$top: $!";
my $cron = -e `pg_config --sharedir` =~ s/\n//r . '/extension/pg_cron.control';
my $node = start_server('docs_all', preload => join(', ', 'dtm', $cron ? 'pg_cron' : ()), extension => 0, conf => <<CONF);
max_prepared_transactions = 10
max_worker_processes = 40
dtm.retry_interval = 200ms
${\ ($cron ? "cron.database_name = 'newcomer'" : '') }
CONF
my $busi = start_participant();
my $database = 'newcomer';

# The services that a page starts: on ports that are free here.
my %port;
my @services;

sub start_service
{
	my ($page_port, @command) = @_;
	my ($in, $out) = ('', '');
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	$port{$page_port} = $port;
	my $handle = IPC::Run::start([ map { $_ eq 'PORT' ? $port : $_ } @command ], '<', \$in, '>', \$out, '2>', '/dev/null', IPC::Run::timeout(600));
	push @services, $handle;
	IPC::Run::pump($handle) until $out =~ /\n/;
	like($out, qr{http://127\.0\.0\.1:$port\b}, "@command[0, 1] says where it is");
	return;
}

END { local $?; $_->kill_kill for @services; }

start_service(8090, qw(/usr/bin/python3 examples/bank.py PORT));

# The text of an example, with the addresses that its services have here.
my $hosts = sub {
	my ($text) = @_;

	$text =~ s/127\.0\.0\.1:$_\b/127.0.0.1:$port{$_}/g for keys %port;
	$text =~ s{\bhttps?://([a-z][a-z-]*)(?:\.example)?/}{$busi/$1/}g;
	return $text;
};

sub run_in
{
	my ($block, $next, @databases) = @_;
	my $name = "$block->{page}:$block->{line}";

	for my $where (@databases)
	{
		# a page may have made it by a command
		$node->safe_psql('postgres', "CREATE DATABASE $where")
		  unless $node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = '$where'");
		if ($next)
		{
			check_output($node, $where, $name, $hosts, $block->{text}, $next->{text});
		}
		else
		{
			run_statements($node, $where, $name, $hosts, statements_of($block->{text}));
		}
	}
	return;
}

sub run_shell
{
	my ($block) = @_;
	my ($out, $err) = ('', '');

	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, $database);
	my $ok = IPC::Run::run([ 'bash', '-euc', $hosts->($block->{text}) ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	ok($ok, "$block->{page}:$block->{line}: runs") or diag("$out$err");
	return $out;
}

# ---------- the bank is a participant as the pages say that one has to be ----------

sub ask_bank
{
	my ($path, $branch, $op, $amount) = @_;
	my $response = HTTP::Tiny->new(timeout => 30)->post("http://127.0.0.1:$port{8090}$path?trans_type=saga&gid=direct&branch_id=$branch&op=$op",
		{ content => "{\"account\": \"alice\", \"amount\": $amount}" });
	return $response->{status};
}

sub alice { return HTTP::Tiny->new->get("http://127.0.0.1:$port{8090}/accounts")->{content} =~ /"alice": (\d+)/ ? $1 : undef; }

is(join(' ', ask_bank('/withdraw', '01', 'action', 10), ask_bank('/withdraw', '01', 'action', 10), alice()), '200 200 90', 'the bank: a repeated call has no effect');
is(join(' ', ask_bank('/withdraw/undo', '01', 'compensate', 10), ask_bank('/withdraw/undo', '01', 'compensate', 10), alice()), '200 200 100', 'nor has a repeated compensation');
is(join(' ', ask_bank('/withdraw/undo', '02', 'compensate', 10), ask_bank('/withdraw', '02', 'action', 10), alice()), '200 200 100', 'nor one without its action, nor a late action');
is(join(' ', ask_bank('/withdraw', '03', 'action', 1000), ask_bank('/withdraw/undo', '03', 'compensate', 1000), alice()), '409 200 100', 'what is refused is not undone');
is(join(' ', ask_bank('/hold', '04', 'try', -60), ask_bank('/hold', '05', 'try', -60), ask_bank('/hold/confirm', '04', 'confirm', -60), ask_bank('/hold/cancel', '05', 'cancel', -60), alice()),
	'200 409 200 200 40', 'what is held cannot be held again');
is(join(' ', ask_bank('/deposit', '06', 'action', 60), ask_bank('/close/alice', '07', 'action', 0), ask_bank('/deposit', '08', 'action', 1), ask_bank('/open/alice', '09', 'action', 0), alice()),
	'200 200 409 200 100', 'a closed account refuses');
is(ask_bank('/nowhere', '10', 'action', 1), 404, 'a path that it does not have');

# Status and body of a POST to one of the examples.
sub post_to
{
	my ($number, $path, $content) = @_;
	my $response = HTTP::Tiny->new(timeout => 30)->post("http://127.0.0.1:$port{$number}$path", { content => $content });
	return "$response->{status} $response->{content}";
}

my $of_branch = 'trans_type=saga&gid=direct&branch_id=11&op=action';
like(post_to(8090, "/withdraw?$of_branch", '{"acount": "alice", "amount": 1}'), qr/^400 .*\\"account\\" is missing in the body/, 'a misspelt key is named');
like(post_to(8090, "/withdraw/undo?$of_branch", '{"account": "alice"}'), qr/^400 .*\\"amount\\" is missing in the body/, 'and a missing one');
like(post_to(8090, "/withdraw?$of_branch", '{"account": "alice", "amount": "1"}'), qr/^400 .*\\"amount\\" in the body is not of type int/, 'and one of another type');
like(post_to(8090, "/withdraw?$of_branch", '["alice", 1]'), qr/^400 .*\\"account\\" is missing in the body/, 'a body that is no object');
like(post_to(8090, "/withdraw?$of_branch", 'alice'), qr/^400 /, 'and one that is no JSON');
like(post_to(8090, '/withdraw?gid=direct', '{"account": "alice", "amount": 1}'), qr/^400 .*\\"branch_id\\" is missing in the URL/, 'a parameter of the branch');
is(alice(), 100, 'nothing has happened');

# ---------- every block ----------

# What this test does itself; a mark says so, and the text is as it is here.
my %own = (
	"python3 examples/bank.py\n" => 1,
	"python3 examples/xa_bank.py 8093 dbname=bank_a\npython3 examples/xa_bank.py 8094 dbname=bank_b\n" => sub {
		start_service(8093, qw(/usr/bin/python3 examples/xa_bank.py PORT), $node->connstr('bank_a'));
		start_service(8094, qw(/usr/bin/python3 examples/xa_bank.py PORT), $node->connstr('bank_b'));
		is(post_to(8093, '/xa?gid=g&branch_id=01', ''), '400 "op" is missing in the URL', 'a parameter that is missing is named');
		is(post_to(8093, '/xa?gid=g&branch_id=01&op=try', ''), '400 "op" in the URL is neither commit nor rollback', 'and one of another protocol');
	},
	"dtm-gateway --conninfo='dbname=postgres user=dtm_gateway' &\npython3 examples/bank.py &\npython3 examples/workflow.py\n" => \&start_workflows,
	"curl 'http://127.0.0.1:8091/transfer?gid=workflow-1' -d '{\"from\": \"bob\", \"to\": \"alice\", \"amount\": 10}'\n"
	  . "psql -c \"SELECT branch_id, op, status FROM dtm.branches WHERE gid = 'workflow-1'\" postgres\n" => \&run_workflows);

sub start_workflows
{
	my $program = 'gateway/dtm-gateway-sanitized';
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = "$PostgreSQL::Test::Utils::log_path/docs_all_gateway.log";

	return unless -x $program;
	$node->safe_psql($database, 'ALTER ROLE dtm_gateway LOGIN');
	push @services, IPC::Run::start([ $program, '--listen', "127.0.0.1:$port", '--conninfo', $node->connstr($database) . ' user=dtm_gateway' ],
		'>', '/dev/null', '2>', $log, IPC::Run::timeout(600));
	for (1 .. 600)
	{
		last if -e $log && slurp_file($log) =~ /listening on /;
		select(undef, undef, undef, 0.1);
	}
	start_service(8091, qw(/usr/bin/python3 examples/workflow.py PORT), "http://127.0.0.1:$port", "http://127.0.0.1:$port{8090}");
	return;
}

sub run_workflows
{
	my ($block) = @_;

	SKIP:
	{
		skip 'gateway/dtm-gateway-sanitized has not been built', 1 unless $port{8091};
		(my $text = $block->{text}) =~ s/ postgres$/ $database/m;
		my $out = run_shell({ %$block, text => $text });
		like($out, qr/\Asucceed\n.* 01 +\| action \| succeed\n 02 +\| action \| succeed/s, 'a workflow in Python runs');
		is(post_to(8091, '/transfer?gid=workflow-2', '{"form": "bob", "to": "alice", "amount": 10}'), "400 \"from\" is missing in the body\n", 'a misspelt key is named');
		is(post_to(8091, '/transfer', '{"from": "bob", "to": "alice", "amount": 10}'), "400 \"gid\" is missing in the URL\n", 'as is a missing gid');
		$out = run_shell({ %$block, text => $text =~ s/workflow-1/workflow-3/gr =~ s/"alice"/"nobody"/r });
		like($out, qr/\Afailed\n.* 01 +\| action +\| succeed\n 02 +\| action +\| failed\n 01 +\| compensate \| succeed/s, 'and is undone');
		# it dies after its first step: the coordinator has it continued
		$node->safe_psql($database, <<"SQL");
SET ROLE dtm_api;
SELECT dtm_prepare_workflow('{"gid": "workflow-4", "trans_type": "workflow", "protocol": "http", "query_prepared": "http://127.0.0.1:$port{8091}/resume",
  "custom_data": "{\\"name\\": \\"transfer\\", \\"data\\": \\"${\ encode_base64('{"from": "bob", "to": "alice", "amount": 1}', '') }\\"}"}');
SELECT dtm_register_branch('{"gid": "workflow-4", "trans_type": "workflow", "branch_id": "01", "op": "action", "status": "succeed"}'::jsonb);
SQL
		is($node->safe_psql($database, "SELECT dtm_wait('workflow-4', '60 s')"), 'succeed', 'and continues');
		is($node->safe_psql($database, "SELECT string_agg(branch_id || ' ' || op, ', ' ORDER BY ordinal) FROM dtm.branches WHERE gid = 'workflow-4'"),
			'01 action, 02 action', 'from where it was');
	}
	return;
}

# Does a test name a page?
sub is_named
{
	my ($page, $test) = @_;
	my ($name) = $page =~ m{([^/]+)\.md\z};

	# the helpers' pages are in the folders that their test goes through
	$name = (split m{/}, $page)[-2] if $page =~ m{^clients/};
	return -e $test && ($test =~ m{^scripts/} || $test eq 't/056_docs_all.pl' || index(slurp_file($test), $name) >= 0);
}

sub account_for
{
	my ($block, $next) = @_;
	my ($page, $language, $mark) = @$block{qw(page language mark)};
	my $name = "$page:$block->{line}";

	return if $mark eq 'output';
	if ($mark =~ /^not run: (.*)/)
	{
		cmp_ok(length $1, '>', 5, "$name: why it cannot run");
	}
	elsif ($mark =~ /^run by (\S+)$/)
	{
		my $test = $1;
		ok(is_named($page, $test), "$name: $test runs it");
		ok($own{ $block->{text} }, "$name: it is known here") if $test eq 't/056_docs_all.pl';
		$own{ $block->{text} }->($block) if ref $own{ $block->{text} };
	}
	elsif ($mark eq 'run')
	{
		run_shell($block);
	}
	elsif ($language eq 'sql' && $runs_in{$page})
	{
		ok(is_named($page, $runs_in{$page}), "$name: $runs_in{$page} runs it");
	}
	elsif ($language eq 'sql' && $block->{attributes} eq 'pg_cron' && !$cron)
	{
		SKIP: { skip "$name: pg_cron is not installed", 1; }
	}
	elsif ($language eq 'sql')
	{
		run_in($block, $next, $mark =~ /^in: (.*)/ ? split(' ', $1) : $database);
	}
	elsif ($language eq 'conf')
	{
		check_configuration($node, $block);
	}
	elsif ($mark !~ /^file: /)
	{
		check_syntax($block) || fail("$name: a block of language \"$language\" has no mark that says what runs it");
	}
	if ($mark =~ /^file: (\S+)/)
	{
		ok(index(slurp_file($1), $block->{text}) >= 0, "$name: it is in $1");
	}
	return;
}

# Whoever types a page has no other services than those that it starts.
for my $page (grep { $_ ne 'docs/gateway.md' } @order)
{
	my $sql = join '', map { $_->{text} } grep { $_->{language} eq 'sql' } blocks_of($page);

	unlike($sql, qr{https?://(?!127\.0\.0\.1:80\d\d\b)}, "$page: its SQL names no service that nobody has");
}

# The Chinese README has the blocks of the English one, which run below.
sub code_of { return join '', map { "$_->{language} $_->{mark}\n$_->{text}" } blocks_of($_[0]); }

is(code_of('README.zh.md'), code_of('README.md'), 'both READMEs have the same blocks');

my %seen = ('README.zh.md' => 1);
for my $page (@order, @pages)
{
	next if $seen{$page}++;
	my @blocks = blocks_of($page);

	for my $n (0 .. $#blocks)
	{
		my $next = $n < $#blocks && $blocks[ $n + 1 ]{mark} eq 'output' ? $blocks[ $n + 1 ] : undef;
		account_for($blocks[$n], $next);
	}
}

done_testing();
