# Databases of other encodings.  All that is sent is UTF-8; text without such a
# form is refused, or an error of its own call.  If this fails, a transaction is
# never called and nobody is told, or one stops all.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('encodings', extension => 0, conf => <<'CONF');
max_worker_processes = 20
dtm.retry_interval = 1h
dtm.alert_retry_limit = 1
log_min_messages = warning
CONF
my $busi = start_participant();

sub make
{
	my ($name, $encoding) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "CREATE DATABASE $name ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	return 0 if $rc != 0;
	$node->safe_psql($name, "CREATE EXTENSION dtm; CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi/base'); CREATE FUNCTION txt(hex text) RETURNS text LANGUAGE sql AS \$\$ SELECT convert_from(decode(hex, 'hex'), '$encoding') \$\$");
	return 1;
}

# what is sent of a submit in database latin1 and others, hex being ASCII and more
sub sent
{
	my ($database, $gid, $url, $more) = @_;
	$node->safe_psql($database, "SELECT dtm_submit('msg', ARRAY[dtm_step($url" . ($more || '') . ")], gid => '$gid')");
	is($node->safe_psql($database, "SELECT dtm_wait('$gid')"), 'succeed', "$database: $gid");
	return (calls_of($gid))[0];
}

sub refused
{
	my ($database, $statement, $expected, $name) = @_;
	my ($rc, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$statement");
	like($err, $expected, "$database: $name");
	like($err, qr/HINT/, "$database: $name: with a hint");
	return;
}

# a row as an older version may have stored it: it fails, and nothing else does
sub fails_alone
{
	my ($database, $name, $change) = @_;
	$node->safe_psql($database, "SELECT dtm_pause()");
	eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused', $database);
	$node->safe_psql($database, "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/rpc?method=m', payload => '{}')], gid => '$name', options => '{\"protocol\": \"json-rpc\"}'), dtm_submit('msg', ARRAY[dtm_step('$busi/ok')], gid => '$name-other')");
	$node->safe_psql($database, "UPDATE dtm.request SET $change WHERE gid = '$name'");
	$node->safe_psql($database, "SELECT dtm_resume()");
	is($node->safe_psql($database, "SELECT dtm_wait('$name-other')"), 'succeed', "$database: $name: others go on");
	ok(eventually($node, "SELECT count(*) FROM dtm.calls WHERE gid = '$name' AND result = 'ERROR' AND http_status IS NULL AND error ~ 'UTF-?8'", '1', $database), "$database: $name: it is recorded");
	is($node->safe_psql($database, "SELECT count(*) FROM dtm.stuck WHERE gid = '$name'"), '1', "$database: $name: and listed");
	$node->safe_psql($database, "SELECT dtm_force_stop('$name')");
	return;
}

# ---------- LATIN1: all of it is in UTF-8 ----------

ok(make('latin1', 'LATIN1'), 'a database in LATIN1');
my $call = sent('latin1', 'path', "'$busi/' || txt('73747261df65') || '?q=' || txt('fc') || '&r=%FC'", q[, payload => to_jsonb(txt('e4'))]);
is($call->{path}, "/stra\x{df}e", 'latin1: a path is sent in UTF-8');
like($call->{raw_query}, qr/^q=%C3%BC&r=%FC&branch_id=01/, 'latin1: so is a query');
is($call->{body}, "\"\x{e4}\"", 'latin1: and a payload');
$call = sent('latin1', 'server', "'server:bank/' || txt('c0c1')");
is($call->{path}, "/base/\x{c0}\x{c1}", 'latin1: what looks like overlong UTF-8, but is not');
refused('latin1', "SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/%c0%ae./x')])", qr/overlong/, 'what is');
$node->safe_psql('latin1', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/h')], gid => txt('67fc'), options => jsonb_build_object('branch_headers', jsonb_build_object('x-header', txt('fc'))))");
is($node->safe_psql('latin1', "SELECT dtm_wait(txt('67fc'))"), 'succeed', 'latin1: a gid');
($call) = grep { $_->{path} eq '/h' } calls_of();
is($call->{query}{gid}, "g\x{fc}", 'latin1: as a parameter');
is($call->{headers}{'x-header'}, "\x{fc}", 'latin1: a header');
for my $method ([ "txt('dc')", "\x{dc}" ], [ "'%C3%9C'", "\x{dc}" ], [ "'%E2%82%AC'", "\x{20ac}" ])
{
	clear_participant();
	$node->safe_psql('latin1', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/rpc?method=' || $method->[0], payload => jsonb_build_object('a', txt('e4')))], gid => txt('67fc') || random(), options => '{\"protocol\": \"json-rpc\"}')");
	$node->poll_query_until('latin1', "SELECT bool_and(status = 'succeed') FROM dtm.transactions");
	my $body = JSON::PP->new->decode((calls_of())[0]{body});
	is($body->{method}, $method->[1], "latin1: method $method->[0]");
	is($body->{params}{a} . substr($body->{params}{gid}, 0, 2), "\x{e4}g\x{fc}", 'latin1: its parameters');
}

refused('latin1', "SELECT dtm_submit('msg', ARRAY[ROW('$busi/rpc?method=m', '', '\\x7b2261223a22e282ac227d', NULL)::dtm_step], options => '{\"protocol\": \"json-rpc\"}')", qr/22P05.*LATIN1/s, 'a payload that has to be read here');

# what is looked for with a character that there is not (the euro sign) is not found; one that there is, is
$node->safe_psql('latin1', 'CREATE ROLE looker IN ROLE dtm_admin');
for my $search ([ 'page', 'list', 'c3bc', 2 ], [ 'page', 'list', 'e282ac', 0 ], [ 'page', 'transaction', 'e282ac', 0 ], [ 'query', '', 'e282ac', 0 ], [ 'all', '', 'e282ac', 0 ])
{
	my ($op, $what, $hex, $found) = @$search;
	my $body = "convert_to('{\"what\": \"$what\", \"gid\": \"g', 'UTF8') || '\\x$hex' || convert_to('\"}', 'UTF8')";
	like($node->safe_psql('latin1', "SELECT b.outcome, jsonb_array_length(COALESCE(NULLIF(a -> 'rows', 'null'), NULLIF(a -> 'transactions', 'null'), '[]')) FROM dtm.gateway_batch(ARRAY['looker'], ARRAY[NULL::bytea], ARRAY['$op'], ARRAY[$body], ARRAY[NULL::integer], '{}', true) b, COALESCE(convert_from(b.answer[1], 'UTF8')::jsonb, '{}') a"),
		$found ? qr/^success\|[1-9]/ : qr/^success\|0$/, "latin1: $op $what of $hex");
}
like($node->safe_psql('latin1', "SELECT b.sqlstate FROM dtm.gateway_batch(ARRAY['looker'], ARRAY[NULL::bytea], ARRAY['prepare'], ARRAY[convert_to('{\"trans_type\": \"tcc\", \"gid\": \"g', 'UTF8') || '\\xe282ac' || convert_to('\"}', 'UTF8')], ARRAY[NULL::integer], '{}', true) b"),
	qr/^22P05$/, 'latin1: but nothing is begun under another name');

# ---------- SQL_ASCII: bytes that may be no text ----------

ok(make('ascii', 'SQL_ASCII'), 'a database in SQL_ASCII');
my $none = qr/(22P05|22021).*UTF-8/s;
refused('ascii', "SELECT dtm_submit('msg', gid => txt('67ff'))", $none, 'a gid');
refused('ascii', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/' || txt('ff'))])", qr/22023.*UTF-8/s, 'a URL');
refused('ascii', "SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/' || txt('ff'))])", qr/22023.*UTF-8/s, 'a path of a server');
refused('ascii', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/x', payload => to_jsonb(txt('ff')))])", $none, 'a payload');
refused('ascii', "SELECT dtm_submit('msg', options => jsonb_build_object('branch_headers', jsonb_build_object('x', txt('ff'))))", $none, 'a header');
refused('ascii', "SELECT dtm_prepare('msg', options => jsonb_build_object('query_prepared', '$busi/' || txt('ff')))", qr/22023.*UTF-8/s, 'query_prepared');
refused('ascii', "SELECT dtm_submit('msg', options => jsonb_build_object('on_finish', '$busi/' || txt('ff')))", qr/22023.*UTF-8/s, 'on_finish');
refused('ascii', "SELECT dtm_register_branch(dtm_prepare('tcc'), txt('ff'), '', '')", $none, 'a branch id');
refused('ascii', "SELECT dtm_prepare('workflow', options => jsonb_build_object('name', txt('ff')))", $none, 'name of a workflow');
refused('ascii', "SELECT dtm_subscribe('t', '$busi/' || txt('ff'))", qr/22023.*UTF-8/s, 'a topic');
refused('ascii', "DO \$\$ BEGIN EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER bank OPTIONS (bearer_token %L)', txt('ff')); END \$\$", $none, 'a token');
refused('ascii', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/rpc?method=m%ff')], options => '{\"protocol\": \"json-rpc\"}')", qr/22023.*UTF-8/s, 'a method');
$call = sent('ascii', 'utf8', "'$busi/' || txt('c3bc')");
is($call->{path}, "/\x{fc}", 'ascii: what is UTF-8 is sent');

# what people write may be any bytes
$node->safe_psql('ascii', "SELECT dtm_prepare('tcc', gid => 'reason', options => '{\"notify\": true, \"on_finish\": \"$busi/finished\"}')");
$node->safe_psql('ascii', "SELECT dtm_abort('reason', txt('6e6fff'))");
is($node->safe_psql('ascii', "SELECT dtm_wait('reason')"), 'failed', 'ascii: a reason');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE status <> 'succeed' AND gid <> 'reason'", '0', 'ascii'), 'ascii: is told');
($call) = grep { $_->{path} eq '/finished' } calls_of();
is(JSON::PP->new->decode($call->{body})->{rollback_reason}, 'no?', 'ascii: as far as it is text');
$node->safe_psql('ascii', "CREATE FUNCTION broken(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION '%', txt('6e6fff') USING ERRCODE = 'DT409'; END \$\$");
$node->safe_psql('ascii', "SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.broken')], gid => 'local', options => '{\"on_finish\": \"$busi/finished-local\"}')");
is($node->safe_psql('ascii', "SELECT dtm_wait('local')"), 'failed', 'ascii: an error of a function');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE status NOT IN ('succeed', 'failed')", '0', 'ascii'), 'ascii: is told, too');

fails_alone('ascii', 'old-url', "action = ARRAY['$busi/' || txt('ff')]");
fails_alone('ascii', 'old-method', "action = ARRAY['$busi/rpc?method=m%ff']");
fails_alone('ascii', 'old-header', "branch_headers = ARRAY['x', txt('ff')]");

# ---------- encodings with holes, and one without any way to UTF-8 ----------

ok(make('japan', 'EUC_JP'), 'a database in EUC_JP');
refused('japan', "SELECT dtm_submit('msg', gid => txt('a9a1'))", $none, 'a gid');
refused('japan', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/' || txt('a9a1'))])", qr/22023.*UTF-8/s, 'a URL');
refused('japan', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/x', payload => to_jsonb(txt('a9a1')))])", $none, 'a payload');
$call = sent('japan', 'kanji', "'$busi/' || txt('c6fccbdc')");
is($call->{path}, "/\x{65e5}\x{672c}", 'japan: a path');
fails_alone('japan', 'old-url', "action = ARRAY['$busi/' || txt('a9a1')]");

SKIP:
{
	skip 'no MULE_INTERNAL', 5 unless make('mule', 'MULE_INTERNAL');
	$call = sent('mule', 'plain', "'$busi/rpc'", q[, payload => '{"a": 1}']);
	is($call->{body}, '{"a": 1}', 'mule: ASCII is sent');
	$node->safe_psql('mule', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/rpc?method=m', payload => '{\"a\": 1}')], gid => 'rpc', options => '{\"protocol\": \"json-rpc\"}')");
	is($node->safe_psql('mule', "SELECT dtm_wait('rpc')"), 'succeed', 'mule: over JSON-RPC, too');
	refused('mule', "SELECT dtm_submit('msg', gid => txt('81e4'))", $none, 'a gid');
}

# ---------- the page finds gids by their beginning ----------

for my $database ('latin1', 'ascii', 'japan')
{
	$node->safe_psql($database, "SELECT dtm_submit('msg', gid => 'page-' || n) FROM generate_series(1, 2) n");
	is($node->safe_psql($database, q[SELECT string_agg(r ->> 'gid', ' ') FROM jsonb_array_elements(dtm.page('{"what": "list", "state": "all", "gid": "page-"}') -> 'rows') r]),
		'page-2 page-1', "$database: the page finds gids");
}

unlike(slurp_file($node->logfile), qr/can't be processed|TRAP|PANIC/, 'no turn has failed');
# ---------- what the page finds by the beginning of a gid ----------

# in database NAME, of gids that begin with a and go on with these bytes, up to the last one that the encoding has
for (
	[ 'page_utf8', 'UTF8', qw(61 7e c3a4 e4b8ad f48fbfbf f48fbfbff48fbfbf) ], [ 'page_latin1', 'LATIN1', qw(61 7e e4 ff ffff) ],
	[ 'page_eucjp', 'EUC_JP', qw(61 7e 8eb1 a4a2 8fb0a1 fefe fefefefe) ], [ 'page_eucjis', 'EUC_JIS_2004', qw(61 7e 8eb1 a4a2 fefe fefefefe) ],
	[ 'page_euccn', 'EUC_CN', qw(61 7e b0a1 fefe fefefefe) ], [ 'page_euckr', 'EUC_KR', qw(61 7e b0a1 fefe fefefefe) ],
	[ 'page_euctw', 'EUC_TW', qw(61 7e c4a1 8ea2a1a1 fefe fffe fffefffe) ], [ 'page_ascii', 'SQL_ASCII', qw(61 7e e4 ff ffff) ])
{
	my ($name, $encoding, @hex) = @$_;

	ok(make($name, $encoding), "a database in $encoding");
	# what UTF-8 does not have is refused by a submit, but may be there
	my $rows = join ', ', map { "(txt('61$_'))" } @hex;
	my $there = $node->safe_psql($name, <<"SQL");
SELECT dtm_pause();
SELECT dtm_prepare('msg', g) FROM (VALUES ('a'), ('b'), ('A')) v(g);
SELECT dtm_prepare('msg', 'stand-in ' || row_number() OVER ()) FROM (VALUES $rows) v(g);
UPDATE dtm.request r SET gid = v.g FROM (SELECT v.g, row_number() OVER () AS n FROM (VALUES $rows) v(g)) v WHERE r.gid = 'stand-in ' || v.n;
SELECT count(*) FROM dtm.request;
SQL
	my $all = @hex + 1;
	like($there, qr/^@{[ $all + 2 ]}\z/m, "$encoding: there are gids");
	is($node->safe_psql($name, q(SELECT cardinality(ids) FROM dtm.page_find('{"gid": "a"}', 50))), $all, "$encoding: all that begin with a are found");
	is($node->safe_psql($name, q(SELECT cardinality(ids) FROM dtm.page_find('{}', NULL))), $all + 2, "$encoding: and all without a filter, even if nobody says how many");
	is($node->safe_psql($name, "SELECT cardinality(ids) FROM dtm.page_find(jsonb_build_object('gid', txt('61$hex[2]')), 50)"), scalar(grep { /^$hex[2]/ } @hex), "$encoding: a beginning that is not ASCII");
	$node->safe_psql('postgres', "DROP DATABASE $name");
}

done_testing();
