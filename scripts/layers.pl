#!/usr/bin/perl
# The layers of src/ and of gateway/: which part may include which, and what else the
# structure forbids.  Prints "ok" or "not ok" for each rule; exits with 1 if one is
# broken.
#
#	scripts/layers.pl [folder with src/ and gateway/]
use strict;
use warnings;

chdir($ARGV[0] // '.') or die "$ARGV[0]: $!\n";
-d 'src/core' or die "no src/core in the current directory\n";

# From the bottom to the top.  A part is a folder, or a file with its header.  It
# may include those that are listed for it, and those only; each of them stands
# above it in this list, so that the list itself has no circle.
my @src = (
	['errors'],
	['compat'],
	['crash_point'],
	['clock'],
	['citus'],
	['invalidation'],
	['process/flight', qw(compat)],
	['gid', qw(clock)],
	['base64', qw(compat errors)],
	['coordinator/otlp'],
	['text', qw(compat)],
	['core'],
	['step', qw(compat core text)],
	['transport'],
	['transaction', qw(compat core gid step text)],
	['process/metrics', qw(core transport)],
	['settings', qw(core transaction transport)],
	['wire', qw(base64 compat core text settings step transaction transport)],
	['endpoint', qw(clock compat core errors text settings step transaction transport wire)],
	['store', qw(citus compat core errors invalidation process/flight process/metrics settings step transaction)],
	['result', qw(compat core errors settings store transaction text wire)],
	['barrier', qw(citus compat errors invalidation store transaction)],
	['process/waiters'],
	['process/committing', qw(citus)],
	['process/shmem', qw(citus compat process/committing process/metrics process/waiters transaction transport)],
	['process/wait_event', qw(compat)],
	['process/bgworker', qw(compat)],
	['process/looks', qw(process/shmem)],
	['notice', qw(core process/shmem settings store transaction)],
	['outcome', qw(core notice process/looks process/metrics process/shmem settings store transaction text)],
	['local',
		qw(compat core crash_point errors process/flight result outcome process/bgworker process/committing process/shmem
		   settings store transaction text wire process/wait_event clock)],
	['request', qw(result base64 compat core endpoint errors gid text local settings step store transaction wire)],
	['coordinator',
		qw(citus compat core crash_point endpoint errors process/flight local coordinator/otlp outcome process/committing
		   process/looks process/metrics process/shmem process/waiters result settings store transaction transport text
		   wire clock)],
	['alert', qw(clock compat endpoint outcome settings store transaction transport text)],
	['process',
		qw(alert compat coordinator errors invalidation process/flight local process/bgworker process/looks process/metrics
		   process/shmem settings store transaction process/wait_event clock)],
	['api',
		qw(compat coordinator core errors gid local outcome process/metrics process/shmem request result settings store
		   transaction text wire process/wait_event clock process/waiters)],
	['gateway',
		qw(api clock compat core errors process/wait_event process/waiters request settings store text transaction)],
	['dtm', qw(citus compat process/flight gid local process process/shmem settings store)]);

# The same of the gateway, where a part may have several files; what has none
# listed is a file with its header.
my @gateway = (
	['buf'],
	['log', qw(buf)],
	['loop', qw(log)],
	['config', qw(buf)],
	['json', qw(buf)],
	['query', qw(buf json)],
	['jsonrpc', qw(buf json)],
	['grpc', qw(buf json)],
	['h1', qw(buf)],
	['hba', qw(buf)],
	['address', qw(buf)],
	['request', qw(buf)],
	['dbparams', qw(buf request)],
	['metrics', qw(buf dbparams)],
	['gid', qw(log)],
	['db', qw(buf dbparams gid log loop metrics request)],
	['nodes', qw(db gid log loop request)],
	['net', qw(address buf grpc h1 hba log loop metrics request)],
	['api', qw(buf gid grpc json jsonrpc log metrics net nodes query request)],
	['page', qw(api buf json log net query request)],
	['setup', qw(buf config db hba log net nodes)],
	['main', qw(api log loop net nodes page setup)]);

# Parts of the gateway, of several files that have no folder of their own.
my %gateway_files = (
	db => [qw(apart batch connect db dbprivate session waiters)],
	net => [qw(channel conn conn_h1 exchange h2 listen netprivate server tls)],
	api => [qw(access api api_grpc)]);

# Headers that only some parts may see.
my @reserved = (
	['src', 'executor/spi.h' => qw(store barrier)],
	['src', 'curl/curl.h' => qw(transport)],
	['gateway', 'libpq-fe.h' => qw(db)],
	['gateway', 'nghttp2/nghttp2.h' => qw(net)],
	['gateway', 'openssl/ssl.h' => qw(net)]);

# Functions of the server that only one file may call.
my %reserved_calls = (
	CacheRegisterRelcacheCallback => 'src/invalidation.c',
	BackgroundWorkerInitializeConnection => 'src/process/bgworker.c',
	BackgroundWorkerInitializeConnectionByOid => 'src/process/bgworker.c');

use constant { MAX_FILE => 600, MAX_FUNCTION => 80 };

my %broken;
sub broken { my ($rule, $what) = @_; push @{ $broken{$rule} }, $what; }

# What a folder's table allows: {part}{part it may include}.
sub arrows
{
	my %may;

	for my $layer (@_)
	{
		my ($part, @below) = @$layer;

		exists $may{$_} or die "$part: $_ does not stand below it\n" for @below;
		$may{$part} = { map { $_ => 1 } @below };
	}
	return \%may;
}

# The part that a file belongs to, given the files that are listed for parts.
sub part_of
{
	my ($file, $may, $listed) = @_;
	my ($name) = $file =~ m{^(.*)\.[ch]$};

	for my $part (keys %$listed)
	{
		return $part if grep { $_ eq $name } @{ $listed->{$part} };
	}
	return $name if exists $may->{$name};
	return $1 if $file =~ m{^(.*)/} && exists $may->{$1};
	return undef;
}

sub part_of_src { return part_of(@_, {}); }

sub part_of_gateway { return part_of(@_, \%gateway_files); }

# Reads one file: what it includes, and how long its functions are.
sub read_file
{
	my ($top, $file, $may, $part_of, $includes) = @_;
	my $part = $part_of->($file, $may);
	my ($folder) = $file =~ m{^(.*/)};
	my ($lines, $begin, $name) = (0, 0, '');

	broken('every file belongs to a part', "$top/$file") unless defined $part;
	$part //= '';
	open(my $in, '<', "$top/$file") or die "$top/$file: $!\n";
	while (my $line = <$in>)
	{
		$lines++;
		if ($line =~ /^#include ["<]([^">]+)[">]/)
		{
			my $header = $1;
			my ($target) = grep { -e "$top/$_" } (defined $folder ? "$folder$header" : ()), $header;

			broken('core knows no PostgreSQL', "$top/$file:$lines: $header")
			  if $top eq 'src' && $part eq 'core' && !defined $target &&
			  $header !~ /^(std|string|limits|math|inttypes|ctype|assert|errno|time)[a-z]*\.h$/;
			for my $rule (@reserved)
			{
				my ($where, $reserved, @parts) = @$rule;

				broken("$reserved is for @parts alone", "$top/$file:$lines")
				  if $top eq $where && $header eq $reserved && !grep { $_ eq $part } @parts;
			}
			next unless defined $target;
			push @{ $includes->{$file} }, $target;
			my $to = $part_of->($target, $may) // '';
			broken('arrows point downwards, as the table has them', "$top/$file:$lines: $part -> $to")
			  unless $to eq $part || $may->{$part}{$to};
		}
		for my $call (keys %reserved_calls)
		{
			broken("$call() is for $reserved_calls{$call} alone", "$top/$file:$lines")
			  if $line =~ /\b$call\(/ && "$top/$file" ne $reserved_calls{$call};
		}
		$name = $1 if $line =~ /^([a-z_0-9]+)\(/;
		$begin = $lines if $line =~ /^\{/;
		if ($line =~ /^\}/ && $begin)
		{
			my $length = $lines - $begin + 1;

			broken('no function is longer than ' . MAX_FUNCTION . ' lines', "$top/$file: $name, $length lines")
			  if $length > MAX_FUNCTION;
			$begin = 0;
		}
	}
	close($in);
	broken('no file is longer than ' . MAX_FILE . ' lines', "$top/$file: $lines lines") if $lines > MAX_FILE;
}

# Between parts the table leaves no circle; within one, headers must not make it.
sub walk
{
	my ($top, $includes, $seen, $header, @way) = @_;

	if (my ($i) = grep { $way[$_] eq $header } 0 .. $#way)
	{
		broken('no headers include each other in a circle',
			join(' -> ', map { "$top/$_" } @way[$i .. $#way], $header));
		return;
	}
	return if $seen->{$header}++;
	walk($top, $includes, $seen, $_, @way, $header) for @{ $includes->{$header} // [] };
}

for my $tree (['src', \@src, \&part_of_src], ['gateway', \@gateway, \&part_of_gateway])
{
	my ($top, $layers, $part_of) = @$tree;
	my $may = arrows(@$layers);
	my @files = map { s{^$top/}{}r } glob("$top/*.[ch] " . ($top eq 'src' ? "$top/*/*.[ch]" : ''));
	my (%includes, %seen);

	read_file($top, $_, $may, $part_of, \%includes) for @files;
	walk($top, \%includes, \%seen, $_) for grep { /\.h$/ } @files;
}

my @rules = ('every file belongs to a part', 'arrows point downwards, as the table has them',
	'no headers include each other in a circle', 'core knows no PostgreSQL',
	(map { my ($where, $reserved, @parts) = @$_; "$reserved is for @parts alone" } @reserved),
	(map { "$_() is for $reserved_calls{$_} alone" } sort keys %reserved_calls),
	'no file is longer than ' . MAX_FILE . ' lines',
	'no function is longer than ' . MAX_FUNCTION . ' lines');
for my $rule (@rules)
{
	print exists $broken{$rule} ? 'not ok' : 'ok', " - layers: $rule\n";
	print "#   $_\n" for @{ $broken{$rule} // [] };
}
exit(%broken ? 1 : 0);
