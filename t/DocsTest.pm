# Shared code of the tests of the documentation: the code blocks of a page, and how
# each kind of block is run.
package DocsTest;

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use FindBin;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(blocks_of statements_of run_statements check_output check_syntax check_configuration anchors_of links_of);

my $top = "$FindBin::RealBin/..";

# The fenced code blocks of a page, in order: { page, line, language, attributes, text, mark }.
# A mark is the HTML comment in the line before the block: "not run: ...", "run by ...", "file: ...",
# "output".  A block that is indented, not fenced, has the language "indented".
sub blocks_of
{
	my ($page) = @_;
	my (@blocks, $block, $indent, $list);
	my ($previous, $number) = ('', 0);

	for my $line (split /\n/, slurp_file("$top/$page"))
	{
		$number++;
		if ($block)
		{
			if ($line =~ /^\s*```\s*$/)
			{
				push @blocks, $block;
				undef $block;
			}
			else
			{
				$line =~ s/^$indent//;
				$block->{text} .= "$line\n";
			}
		}
		elsif ($line =~ /^(\s*)```(\S*)\s*(.*)$/)
		{
			$indent = $1;
			$block = { page => $page, line => $number, language => $2, attributes => $3, text => '', mark => '' };
			$block->{mark} = $1 if $previous =~ /^\s*<!--\s*(.*?)\s*-->\s*$/;
		}
		elsif ($line =~ /^(?:    |\t)\S/ && $previous eq '' && !$list)
		{
			push @blocks, { page => $page, line => $number, language => 'indented', attributes => '', text => "$line\n", mark => '' };
		}
		$list = 1 if $line =~ /^\s*(?:[-*]|\d+\.)\s/;
		$list = 0 if $line =~ /^\S/ && $line !~ /^(?:[-*]|\d+\.)\s/;
		$previous = $line;
	}
	die "$page: the last code block has no end" if $block;
	return @blocks;
}

# The statements of a block of SQL: [ statement, result ].  The result is the comment behind the last line
# of a statement, if it has one.  Commands of psql are statements, too.
sub statements_of
{
	my ($text) = @_;
	my ($statement, @statements) = ('');

	for my $line (split /\n/, $text)
	{
		my $result;
		$result = $1 if $line =~ s/;\s*--\s*(.*?)\s*$/;/;
		$statement .= "$line\n";
		# inside of a function's body, a semicolon ends nothing
		next unless ($line =~ /;$/ || $statement =~ /\A\\/) && (() = $statement =~ /\$\$/g) % 2 == 0;
		push @statements, [ $statement, $result ];
		$statement = '';
	}
	# comments may stand at the end
	$statement =~ s/^\s*(?:--.*)?\n//mg;
	die "a block does not end with its last statement: $statement" if $statement ne '';
	return @statements;
}

# Runs statements in one session, and tests their results.  The services that examples name are those of $busi.
sub run_statements
{
	my ($node, $database, $name, $hosts, @statements) = @_;
	my $script = "SET client_min_messages = warning;\n";

	for my $n (0 .. $#statements)
	{
		$script .= sprintf("\\echo \@\@%d\n%s", $n, $hosts->($statements[$n][0]));
	}
	my ($rc, $out, $err) = $node->psql($database, $script, timeout => 300);
	is($rc, 0, "$name: every statement runs") or diag($err);
	# psql shows what the session listens for behind a result
	$out =~ s/^Asynchronous notification .*\n//mg;
	my %got = $out =~ /^\@\@(\d+)\n?(.*?)(?=^\@\@|\z)/msg;
	for my $n (0 .. $#statements)
	{
		my ($statement, $result) = @{ $statements[$n] };
		next unless defined $result;
		(my $got = defined $got{$n} ? $got{$n} : '') =~ s/\n\z//;
		(my $title = $statement) =~ s/\s+/ /g;
		is($got, $hosts->($result), "$name: " . substr($title, 0, 60));
	}
	return;
}

# Runs a block, and tests that psql prints what the block of output behind it has.  Empty lines and the
# numbers of rows do not count.
sub check_output
{
	my ($node, $database, $name, $hosts, $text, $expected) = @_;
	my ($rc, $out, $err) = $node->psql($database, "SET client_min_messages = warning;\n\\pset format aligned\n\\pset tuples_only off\n" . $hosts->($text), timeout => 300);
	is($rc, 0, "$name: every statement runs") or diag($err);
	for ($out, $expected)
	{
		s/[ \t]+$//mg;
		s/^\(\d+ rows?\)$//mg;
		s/\n{2,}/\n/g;
		s/\A\n|\n\z//g;
	}
	$expected = $hosts->($expected);
	# a block may create and insert first; what it prints at its end counts
	is(substr($out, -length $expected), $expected, "$name: it prints what the page shows");
	return;
}

# Runs a command, with a file that has the text as its last argument.
sub command_accepts
{
	my ($name, $suffix, $text, @command) = @_;
	my $file = File::Temp->new(SUFFIX => $suffix);
	my ($out, $err) = ('', '');

	print $file $text;
	close $file;
	my $ok = IPC::Run::run([ @command, $file->filename ], '<', \undef, '>', \$out, '2>', \$err);
	ok($ok, $name) or diag($err);
	return;
}

# What can be said of a block without running it.  False if nothing can.
sub check_syntax
{
	my ($block) = @_;
	my $name = "$block->{page}:$block->{line}: $block->{language}";
	my %command = (
		sh => [ '.sh', 'bash', '-n' ],
		bash => [ '.sh', 'bash', '-n' ],
		python => [ '.py', '/usr/bin/python3', '-c', 'import ast, sys; ast.parse(open(sys.argv[1]).read())' ],
		# a block of a module or of a script
		js => [ $block->{text} =~ /^import /m ? '.mjs' : '.cjs', 'node', '--check' ],
		ini => [ '.ini', '/usr/bin/python3', '-c', 'import configparser, sys; configparser.ConfigParser(interpolation=None, strict=True).read_file(open(sys.argv[1]))' ]);

	if ($command{ $block->{language} })
	{
		my ($suffix, @command) = @{ $command{ $block->{language} } };
		command_accepts($name, $suffix, $block->{text}, @command);
	}
	elsif ($block->{language} eq 'json')
	{
		ok(defined eval { JSON::PP->new->decode($block->{text}) }, $name) or diag($@);
	}
	elsif ($block->{language} eq 'yaml')
	{
		check_yaml($name, $block->{text});
	}
	else
	{
		return 0;
	}
	return 1;
}

# YAML, by Python's parser where there is one, and else by its outline.
sub check_yaml
{
	my ($name, $text) = @_;

	if (system('/usr/bin/python3 -c "import yaml" 2>/dev/null') == 0)
	{
		command_accepts($name, '.yaml', $text, '/usr/bin/python3', '-c', 'import sys, yaml; list(yaml.safe_load_all(open(sys.argv[1])))');
		return;
	}
	is(join("\n", grep { !/^(?:\s*(?:#.*)?|\s*(?:- )?\s*["\w.\/-]+:(?: .*)?|\s*- .*|---)$/ } split /\n/, $text), '', $name);
	return;
}

# Lines of postgresql.conf: the server knows the settings, and takes the values.
sub check_configuration
{
	my ($node, $block) = @_;
	my $file = $node->data_dir . '/documentation.conf';

	append_to_file($node->data_dir . '/postgresql.conf', "include_if_exists 'documentation.conf'\n")
	  unless slurp_file($node->data_dir . '/postgresql.conf') =~ /documentation\.conf/;
	open my $out, '>', $file or die "$file: $!";
	print $out $block->{text};
	close $out;
	# what needs a restart is no mistake
	is($node->safe_psql('postgres', <<'SQL'), '', "$block->{page}:$block->{line}: conf");
SELECT name, error FROM pg_file_settings
 WHERE sourcefile LIKE '%documentation.conf' AND error IS NOT NULL AND error <> 'setting could not be applied'
UNION ALL SELECT name, 'unknown' FROM pg_file_settings f
 WHERE sourcefile LIKE '%documentation.conf' AND name NOT LIKE '%.%' AND NOT EXISTS (SELECT FROM pg_settings s WHERE lower(s.name) = lower(f.name))
SQL
	unlink $file;
	return;
}

# The anchors of a page, as GitHub makes them of headings.
sub anchors_of
{
	my ($page) = @_;
	my ($text, %anchors) = (slurp_file("$top/$page"));

	utf8::decode($text);
	$text =~ s/^\s*```.*?^\s*```\s*$//msg;
	for my $heading ($text =~ /^#+ +(.*?)\s*$/mg)
	{
		$heading =~ s/\[(.*?)\]\(.*?\)/$1/g;
		(my $anchor = lc $heading) =~ s/[^\w\- ]//g;
		$anchor =~ s/ /-/g;
		$anchor .= '-' . $anchors{$anchor}++ if exists $anchors{$anchor};
		$anchors{$anchor} = 1;
	}
	return \%anchors;
}

# The relative links of a page: [ file, anchor ].
sub links_of
{
	my ($page) = @_;
	my $text = slurp_file("$top/$page");

	utf8::decode($text);
	$text =~ s/^\s*```.*?^\s*```\s*$//msg;
	$text =~ s/`[^`\n]*`//g;
	return map { [ split /#/, $_, 2 ] } grep { !/^\w+:/ } $text =~ /\]\(([^)\s]+)\)/g, $text =~ /(?:src|srcset)="([^"]+)"/g;
}

1;
