# docs/compatibility.md has every row of dtm's behaviours, and each test that it names is
# there and speaks of that row.  If this fails, a promise of the page is not kept.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";

# the rows that there are
my %last = (SG => 7, SC => 5, SO => 12, GG => 11, TC => 19, XA => 13, MS => 15, MD => 14, JR => 5,
	TP => 5, WF => 20, BA => 15, BR => 14, AP => 18, CR => 7, ST => 4, CF => 3, CS => 7);
my @expected = map { my $kind = $_; map { sprintf '%s-%02d', $kind, $_ } 1 .. $last{$kind} } sort keys %last;
push @expected, map { sprintf 'R-%02d', $_ } 1 .. 7, 10 .. 16, 20 .. 50;

# the rows that a file speaks of: "SO-05", "R-10 to R-16"
sub rows_of
{
	my ($file) = @_;
	my $text = slurp_file("$top/$file");
	my %rows;
	while ($text =~ /\b([A-Z]{1,2})-(\d\d)(?: to (?:\1-)?(\d\d))?/g)
	{
		my ($kind, $from, $to) = ($1, $2, defined $3 ? $3 : $2);
		$rows{ sprintf '%s-%02d', $kind, $_ } = 1 for $from .. $to;
	}
	return \%rows;
}

my (%seen, %files, @bad);
for my $line (split /\n/, slurp_file("$top/docs/compatibility.md"))
{
	my ($row, $here, $why, $tests) = $line =~ /^\| ([A-Z]{1,2}-\d\d) \| ([^|]*?) \| ([^|]*?) ?\| ([^|]*?) ?\|$/ or next;
	$seen{$row}++;
	push @bad, "$row: \"$here\"" unless $here =~ /^(same|different|client|not here)$/;
	push @bad, "$row: no reason" if $here ne 'same' && $why eq '';
	my @tests = $tests =~ /`([^`]+)`/g;
	push @bad, "$row: no test" if $here =~ /^(same|different)$/ && !@tests;
	for my $file (@tests)
	{
		$files{$file} ||= -e "$top/$file" ? rows_of($file) : {};
		push @bad, "$row: $file does not speak of it" unless $files{$file}{$row};
	}
}
is(join(' ', grep { !$seen{$_} } @expected), '', 'no row is missing');
is(join(' ', grep { $seen{$_} > 1 } sort keys %seen), '', 'none is there twice');
is(scalar(keys %seen), scalar(@expected), 'none is there that is not one');
is(join("\n", @bad), '', 'each says what it is, why, and which test shows it');

# a test in SQL, of isolation, or in C is one that is run
my $makefile = slurp_file("$top/Makefile");
my @not_run = grep {
	m{^sql/(\w+)\.sql$} ? $makefile !~ /^REGRESS = .*\b$1\b/m
	  : m{^isolation/specs/(\w+)\.spec$} ? $makefile !~ /^ISOLATION = .*\b$1\b/m
	  : !m{^(t/\d+_\w+\.pl|test/unit/test_\w+\.c)$}
} sort keys %files;
is(join(' ', @not_run), '', 'each test is run');

done_testing();
