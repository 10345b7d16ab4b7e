# The first saga, as the README has it and as the packages' test runs it.  If this
# fails, what a newcomer types does not do what it says.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('examples');
my $top = "$FindBin::RealBin/..";
my $script = slurp_file("$top/examples/first-saga.sql");
my $expected = slurp_file("$top/examples/first-saga.out");

my ($out, $err) = run_command([ 'psql', '-X', '-a', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$top/examples/first-saga.sql" ]);
is("$out\n", $expected, 'the output that the README shows');
is($err, '', 'and nothing else');
# the README has the first of the two transfers, and what it prints
my ($readme) = slurp_file("$top/README.md") =~ /^## A first saga\n.*?^```sql\n(.*?)^```/ms;
my ($first) = $script =~ /\A(.*?)\n-- 200 are more/s;
is($readme, $first, 'the README has it word for word');
done_testing();
