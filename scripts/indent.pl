#!/usr/bin/perl
# Lays out C sources as PostgreSQL's pgindent does, with the pg_bsd_indent that
# packages of PostgreSQL 17 and later contain.
#
#	scripts/indent.pl [--check] [file...]		(default: all of src/ and gateway/)
#
# With --check nothing is written: prints "ok" or "not ok" and what differs.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;

my $check = @ARGV && $ARGV[0] eq '--check' && shift;
my ($indent) = sort { $b cmp $a } glob('/usr/lib/postgresql/*/bin/pg_bsd_indent');
chdir("$FindBin::RealBin/..") or die "$!\n";
my @files = @ARGV ? @ARGV : sort glob('src/*.[ch] src/*/*.[ch] gateway/*.[ch] gateway/test/*.[ch]');

unless ($indent)
{
	print "# formatting is not checked: pg_bsd_indent comes with PostgreSQL 17 and later\n";
	exit 0;
}

# The types that a name followed by "*" or another name declares: PostgreSQL's and
# ours.  Not those that are also names of fields.
my %types = map { $_ => 1 } qw(CURL CURLM CURLU CURLcode curl_version_info_data DIR FILE PGconn PGresult SSL SSL_CTX
  bool int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ssize_t off_t pid_t time_t);
for my $file (glob('/usr/include/postgresql/*/server/*.h /usr/include/postgresql/*/server/*/*.h'), @files)
{
	open(my $in, '<', $file) or next;
	while (<$in>)
	{
		$types{$1} = 1 if /^\} (\w+);/ || /^typedef\b.*?(\w+);/;
	}
}
delete $types{name};
$types{counters_hash} = 1;		# made by lib/simplehash.h
my $folder = tempdir(CLEANUP => 1);
my $list = "$folder/typedefs";
for my $kind ('', '.plain')
{
	open(my $out, '>', "$list$kind") or die "$list$kind: $!\n";
	print $out "$_\n" for grep { $kind eq '' || $_ ne 'text' } sort keys %types;
	close($out);
}

sub laid_out
{
	my ($file, $source) = @_;
	# where there is no PostgreSQL, text is a name like others
	my $types = $file =~ m{^(?:src/core|src/transport|gateway)/|/uri\.|coordinator/call\.} ? "$list.plain" : $list;

	# what the preprocessor makes of a line is not C
	open(my $tmp, '>', "$list.c") or die "$!\n";
	print $tmp $source;
	close($tmp);
	my $result = `"$indent" -bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l79 -lp -lpl -nip -npro -sac -tpg -ts4 -U"$types" <"$list.c" 2>&1`;
	if ($?)
	{
		my ($error) = $result =~ /INDENT\*\* (.*?) \*\//;
		print STDERR "$file: pg_bsd_indent cannot read it: ", $error // $result, "\n";
		return undef;
	}

	# as pgindent does afterwards
	$result =~ s/^([A-Za-z]\S*(?:\h[A-Za-z]\S*)*)[ \t]+(\*+)(?=$)/$1 $2/gm;
	$result =~ s/([,{])\.(?=[a-z_]+(?:\.[a-z_]+)* = )/$1 eq ',' ? ', .' : '{.'/ge;
	# 19's has a blank there, those before it have none
	$result =~ s/, \.\.\.\)/,...)/g;
	return $result;
}

my $status = 0;
for my $file (@files)
{
	local $/;
	open(my $in, '<', $file) or die "$file: $!\n";
	my $source = <$in>;
	close($in);
	next if $file =~ /request_columns\.h$/;		# a list, and no C
	my $result = laid_out($file, $source);
	next if defined $result && $result eq $source;
	$status = 1;
	next unless defined $result;
	if ($check)
	{
		print "not ok - formatting: $file\n";
		open(my $diff, '|-', 'diff', '-u', $file, '-') or die "$!\n";
		print $diff $result;
		close($diff);
		next;
	}
	open(my $to, '>', $file) or die "$file: $!\n";
	print $to $result;
	close($to);
}
print "ok - formatting\n" if $check && !$status;
exit($check ? $status : 0);
