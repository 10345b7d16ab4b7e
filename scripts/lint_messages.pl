#!/usr/bin/perl
# Checks the errors of the sources and of the SQL scripts: each has an SQLSTATE and a
# hint, and none is a sentence that is made of pieces.  If this fails, somebody reads
# an error that does not say what to do, or that cannot be translated.
#
#	scripts/lint_messages.pl
#
# Prints "ok" and "not ok" lines; needs nothing but Perl.
use strict;
use warnings;

use File::Basename qw(dirname);

chdir dirname(__FILE__) . '/..' or die "cannot change to the top of the tree: $!\n";

# Errors that no user can do anything about, and those of which the message alone is
# kept, as the error of a call.
my $needs_no_hint = qr/ERRCODE_INTERNAL_ERROR|ERRCODE_SYSTEM_ERROR|ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED
	|errcode_for_file_access|"worker[ ]does[ ]not[ ]run[ ]as|"function's[ ]changes[ ]were[ ]rolled[ ]back/x;

my $failed = 0;

sub check
{
	my ($what, @complaints) = @_;
	print @complaints ? 'not ok' : 'ok', " - messages: $what\n";
	print "#   $_\n" for @complaints;
	$failed = 1 if @complaints;
	return;
}

sub slurp
{
	my ($file) = @_;
	open my $in, '<', $file or die "cannot open $file: $!\n";
	local $/;
	return scalar <$in>;
}

# The whole calls of a function, each with the line it begins in
sub calls_of
{
	my ($function, $text) = @_;
	my @calls;
	while ($text =~ /\b$function(\((?:[^()"]++|"(?:[^"\\]|\\.)*+"|(?1))*\))/g)
	{
		my ($call, $end) = ($1, pos $text);
		push @calls, [ 1 + (substr($text, 0, $end - length $call) =~ tr/\n//), $call ];
	}
	return @calls;
}

my (@no_state, @no_hint, @pieces, @raises);
for my $file (sort map { glob } qw(src/*.c src/*/*.c))
{
	my $text = slurp($file);
	for (grep { $_->[1] =~ /^\((?:ERROR|FATAL)\b/ } calls_of('ereport', $text))
	{
		my ($line, $call) = @$_;
		push @no_state, "$file:$line" unless $call =~ /errcode/;
		push @no_hint, "$file:$line" unless $call =~ /errhint/ || $call =~ $needs_no_hint;
	}
	# the end of a sentence
	for (map { calls_of($_, $text) } qw(errdetail errhint))
	{
		my ($line, $call) = @$_;
		push @pieces, "$file:$line: $call" if $call =~ /^\("[^"]*[,;] %s\.?"/;
	}
	# a subject, or a kind of thing, that is put in; a message that is another's as a whole is none
	for (calls_of('errmsg', $text))
	{
		my ($line, $call) = @$_;
		push @pieces, "$file:$line: $call" if $call =~ /^\("(?:%s [^"]|.* %s of |.* (?:an?|the|of|change) %s)/;
	}
}
for my $file ('dtm--0.2.0.sql', 'sql/participant.sql')
{
	my $text = slurp($file);
	while ($text =~ /\bRAISE EXCEPTION\b((?:[^';]|'(?:[^']|'')*')*);/g)
	{
		my ($raise, $line) = ($1, 1 + (substr($text, 0, pos $text) =~ tr/\n//));
		push @raises, "$file:$line" unless ($raise =~ /HINT =/ && $raise =~ /ERRCODE =/) || $raise =~ /'DT000'/;
		push @pieces, "$file:$line: $raise" if $raise =~ /^ '(?:[^']|'')*"%" %/;
	}
}
check('each error of the sources has an SQLSTATE', @no_state);
check('each error of the sources has a hint', @no_hint);
check('each exception of the SQL scripts has an SQLSTATE and a hint', @raises);
check('none is made of pieces', @pieces);

exit $failed;
