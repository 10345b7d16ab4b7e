#!/usr/bin/perl
# The layers of src/: which part may include which, and what else the structure
# forbids.  Prints "ok" or "not ok" for each rule; exits with 1 if one is broken.
#
#	scripts/layers.pl [folder with src/]
use strict;
use warnings;

chdir($ARGV[0] // '.') or die "$ARGV[0]: $!\n";
-d 'src/core' or die "no src/core in the current directory\n";

# From the bottom to the top.  A part is a folder, or a file with its header.  It
# may include those that are listed for it, and those only; each of them stands
# above it in this list, so that the list itself has no circle.
my @layers = (
	['errors'],
	['compat'],
	['crash_point'],
	['clock'],
	['flight', qw(compat)],
	['gid'],
	['utf8'],
	['base64', qw(compat errors)],
	['core'],
	['transport'],
	['transaction', qw(compat core gid utf8)],
	['settings', qw(core transaction transport)],
	['wire', qw(base64 compat core settings transaction transport utf8)],
	['endpoint', qw(compat errors settings transaction transport utf8 wire)],
	['store', qw(compat core errors flight settings transaction)],
	['barrier', qw(compat errors store transaction)],
	['process/waiters'],
	['process/shmem', qw(compat process/waiters transaction transport)],
	['process/wait_event', qw(compat)],
	['process/bgworker', qw(compat)],
	['notice', qw(core process/shmem settings store transaction)],
	['outcome', qw(core notice process/shmem settings store transaction utf8)],
	['local',
		qw(compat core crash_point errors flight outcome process/bgworker process/shmem settings store
		   transaction utf8 wire process/wait_event clock)],
	['request', qw(base64 compat core endpoint errors gid local settings store transaction utf8 wire)],
	['coordinator',
		qw(compat core crash_point endpoint errors flight local outcome process/shmem process/waiters
		   settings store transaction transport wire clock)],
	['process',
		qw(compat coordinator errors flight local process/bgworker process/shmem settings store transaction process/wait_event clock)],
	['api',
		qw(compat coordinator core errors gid outcome process/shmem request settings store
		   transaction process/wait_event clock process/waiters)],
	['gateway',
		qw(api clock compat core errors process/wait_event process/waiters request settings store
		   transaction)],
	['dtm', qw(compat flight local process process/shmem settings store)]);

# Headers that only some parts may see, and the parts that must not see one.
my @reserved = (
	['executor/spi.h' => qw(store barrier)],
	['curl/curl.h' => qw(transport)]);

use constant { MAX_FILE => 600, MAX_FUNCTION => 80 };

my (%may, %height, %broken);
my $height = 0;
for my $layer (@layers)
{
	my ($part, @below) = @$layer;

	exists $height{$_} or die "$part: $_ does not stand below it\n" for @below;
	$may{$part} = { map { $_ => 1 } @below };
	$height{$part} = $height++;
}

sub broken { my ($rule, $what) = @_; push @{ $broken{$rule} }, $what; }

# The part that a file of src/ belongs to.
sub part_of
{
	my $file = shift;
	my ($name) = $file =~ m{^(.*)\.[ch]$};

	return $name if exists $may{$name};
	return $1 if $file =~ m{^(.*)/} && exists $may{$1};
	return undef;
}

my @files = map { s{^src/}{}r } glob('src/*.[ch] src/*/*.[ch]');
my %includes;
for my $file (@files)
{
	my $part = part_of($file);
	my ($folder) = $file =~ m{^(.*/)};
	my ($lines, $begin, $name, $previous) = (0, 0, '', '');

	broken('every file belongs to a part', $file) unless defined $part;
	$part //= '';
	open(my $in, '<', "src/$file") or die "src/$file: $!\n";
	while (my $line = <$in>)
	{
		$lines++;
		if ($line =~ /^#include ["<]([^">]+)[">]/)
		{
			my $header = $1;
			my ($target) = grep { -e "src/$_" } (defined $folder ? "$folder$header" : ()), $header;

			broken('core knows no PostgreSQL', "$file:$lines: $header")
			  if $part eq 'core' && !defined $target && $header !~ /^(std|string|limits|math|inttypes|ctype|assert|errno|time)[a-z]*\.h$/;
			for my $rule (@reserved)
			{
				my ($reserved, @parts) = @$rule;

				broken("$reserved is for @parts alone", "$file:$lines")
				  if $header eq $reserved && !grep { $_ eq $part } @parts;
			}
			next unless defined $target;
			push @{ $includes{$file} }, $target;
			my $to = part_of($target) // '';
			broken('arrows point downwards, as the table has them', "$file:$lines: $part -> $to")
			  unless $to eq $part || $may{$part}{$to};
		}
		$name = $1 if $line =~ /^([a-z_0-9]+)\(/;
		$begin = $lines if $line =~ /^\{/;
		if ($line =~ /^\}/ && $begin)
		{
			my $length = $lines - $begin + 1;

			broken('no function is longer than ' . MAX_FUNCTION . ' lines', "$file: $name, $length lines")
			  if $length > MAX_FUNCTION;
			$begin = 0;
		}
	}
	close($in);
	broken('no file is longer than ' . MAX_FILE . ' lines', "$file: $lines lines") if $lines > MAX_FILE;
}

# Between parts the table leaves no circle; within one, headers must not make it.
my %seen;
sub walk
{
	my ($header, @way) = @_;

	if (my ($i) = grep { $way[$_] eq $header } 0 .. $#way)
	{
		broken('no headers include each other in a circle', join(' -> ', @way[$i .. $#way], $header));
		return;
	}
	return if $seen{$header}++;
	walk($_, @way, $header) for @{ $includes{$header} // [] };
}
walk($_) for grep { /\.h$/ } @files;

my @rules = ('every file belongs to a part', 'arrows point downwards, as the table has them',
	'no headers include each other in a circle', 'core knows no PostgreSQL',
	(map { my ($reserved, @parts) = @$_; "$reserved is for @parts alone" } @reserved),
	'no file is longer than ' . MAX_FILE . ' lines',
	'no function is longer than ' . MAX_FUNCTION . ' lines');
for my $rule (@rules)
{
	print exists $broken{$rule} ? 'not ok' : 'ok', " - layers: $rule\n";
	print "#   $_\n" for @{ $broken{$rule} // [] };
}
exit(%broken ? 1 : 0);
