#!/usr/bin/perl
# Checks that docs/spec/ has every section and every row that sources, tests and
# documents quote, and that the coverage table has every row.  If this fails, a
# reader looks for a rule that is not written down, or a behaviour of dtm is
# neither tested nor listed as a difference.
#
#	scripts/lint_spec.pl
#
# Prints "ok" and "not ok" lines; needs nothing but Perl.
use strict;
use warnings;
use utf8;

use File::Basename qw(dirname);
use File::Find;

chdir dirname(__FILE__) . '/..' or die "cannot change to the top of the tree: $!\n";

my $wire = 'docs/spec/dtm-wire.md';
my $behaviours = 'docs/spec/dtm-behaviours.md';
my $coverage = 'docs/spec/coverage.md';

# Who quotes the specification; what is not there is skipped.
my @quoting = grep { -e } qw(src sql isolation t test bench scripts docs README.md);
my $quoting_files = qr/\.(?:c|h|sql|spec|pl|pm|py|sh|md)$/;

binmode STDOUT, ':encoding(UTF-8)';
my $failed = 0;

sub check
{
	my ($what, @complaints) = @_;
	print @complaints ? 'not ok' : 'ok', " - specification: $what\n";
	print "#   $_\n" for @complaints;
	$failed = 1 if @complaints;
	return;
}

my %content;

sub slurp
{
	my ($file) = @_;
	return $content{$file} if defined $content{$file};
	open my $in, '<:encoding(UTF-8)', $file or die "cannot open $file: $!\n";
	local $/;
	return $content{$file} = <$in>;
}

# ---------- what there is ----------

# "## 6. Result rules", "### 6.1 Reply", and item 9 of a numbered list in section 11
my (%sections, $section);
for my $line (split /\n/, slurp($wire))
{
	if ($line =~ /^#+ (\d+(?:\.\d+)?)[. ]/)
	{
		$section = $1;
		$sections{$section}++;
	}
	elsif ($line =~ /^(\d+)\. / && $section !~ /\./)
	{
		$sections{"$section.$1"}++;
	}
}

# "| SG-02 | saga | ..."
my %rows;
$rows{$_}++ for slurp($behaviours) =~ /^\| ([A-Z]{1,2}-\d\d) \|/mg;

check('each section and each row is there once',
	(map { "section $_ is there $sections{$_} times" } grep { $sections{$_} > 1 } sort keys %sections),
	(map { "row $_ is there $rows{$_} times" } grep { $rows{$_} > 1 } sort keys %rows));

# ---------- what is quoted ----------

# The rows that a line names: "SO-05", "R-10 to R-16"; a test may have gids R-02a, R-02b
sub rows_of
{
	my ($line) = @_;
	my @named;
	while ($line =~ /\b([A-Z]{1,2})-(\d\d)(?!\d)(?: to (?:\1-)?(\d\d)(?!\d))?/g)
	{
		my ($kind, $from, $to) = ($1, $2, defined $3 ? $3 : $2);
		push @named, map { sprintf '%s-%02d', $kind, $_ } $from .. $to;
	}
	return @named;
}

my (%named_in, @files, @no_section, @no_row);
find({ no_chdir => 1, wanted => sub { push @files, $_ if -f && $_ =~ $quoting_files } }, @quoting);
for my $file (sort @files)
{
	my $number = 0;
	for my $line (split /\n/, slurp($file))
	{
		$number++;
		push @no_section, "$file:$number: §$_" for grep { !$sections{$_} } $line =~ /§\s*(\d+(?:\.\d+)?)/g;
		for my $row (rows_of($line))
		{
			$named_in{$file}{$row} = 1;
			push @no_row, "$file:$number: $row" unless $rows{$row};
		}
	}
}
check("each section that is quoted is in $wire", @no_section);
check("each row that is quoted is in $behaviours", @no_row);

# ---------- what is covered ----------

# | row | same, different, client or not here | why | `test`, `test` |
my ($regress) = slurp('Makefile') =~ /^REGRESS = (.*)/m;
my ($isolation) = slurp('Makefile') =~ /^ISOLATION = (.*)/m;
my %is_run = map { $_ => 1 } (map { "sql/$_.sql" } split ' ', $regress),
  (map { "isolation/specs/$_.spec" } split ' ', $isolation), glob('t/*.pl test/unit/test_*.c');
my (%covered, @bad);
for my $line (split /\n/, slurp($coverage))
{
	my ($row, $here, $why, $tests) = $line =~ /^\| ([A-Z]{1,2}-\d\d) \| ([^|]*?) \| ([^|]*?) ?\| ([^|]*?) ?\|$/ or next;
	my @tests = $tests =~ /`([^`]+)`/g;
	push @bad, "$row is there twice" if $covered{$row}++;
	push @bad, "$row is \"$here\"" unless $here =~ /^(?:same|different|client|not here)$/;
	push @bad, "$row does not say why" if $here ne 'same' && $why eq '';
	push @bad, "$row has no test" if $here =~ /^(?:same|different)$/ && !@tests;
	push @bad, map { "$row: $_ is not run, or does not mention it" } grep { !$is_run{$_} || !$named_in{$_}{$row} } @tests;
}
check("$coverage has each row once, and each test that it names is run and mentions the row",
	@bad, map { "$_ is not in the table" } grep { !$covered{$_} } sort keys %rows);

exit $failed;
