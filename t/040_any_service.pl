# docs/any-service.md, run: a saga over a payment provider and two other services that know nothing
# of dtm, with nothing between.  If this fails, such services need an adapter again.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('any_service', conf => "dtm.retry_interval = 100ms\n");
my $json = JSON::PP->new->canonical;
my $http = HTTP::Tiny->new(timeout => 30);

my ($in, $out) = ('', '');
my $shop = IPC::Run::start([ '/usr/bin/python3', "$FindBin::RealBin/../test/shop.py" ], '<', \$in, '>', \$out, IPC::Run::timeout(600));
IPC::Run::pump($shop) until $out =~ /\n/;
my %port;
@port{qw(payments stock shipping)} = split ' ', $out;

END { local $?; $shop->kill_kill if $shop; }

sub state_of
{
	my $response = $http->get("http://127.0.0.1:$port{$_[0]}/_state");
	return $json->decode($response->{content});
}

# What a service does to its next requests.
sub set
{
	my ($service, %faults) = @_;
	my $response = $http->post("http://127.0.0.1:$port{$service}/_set", { content => $json->encode(\%faults) });
	die "$service: $response->{status}" unless $response->{success};
	return;
}

# The requests of an order to a service: "POST /v1/charges, DELETE /v1/charges/ch_1"
my %seen = map { $_ => 0 } keys %port;

sub requests
{
	my ($service) = @_;
	my @requests = @{ state_of($service)->{requests} };
	my @new = @requests[ $seen{$service} .. $#requests ];
	$seen{$service} = @requests;
	return @new;
}

sub lines { return join ', ', map { "$_->{method} $_->{path}" } requests($_[0]); }

# ---------- the page ----------

my $page = slurp_file("$FindBin::RealBin/../docs/any-service.md");
$page =~ s{https://$_\.example}{http://127.0.0.1:$port{$_}}g for keys %port;
my @blocks = $page =~ /^```sql\n(.*?)^```/msg;
is(scalar(@blocks), 2, 'the page has its examples');
sql("SET client_min_messages = warning; $_") for @blocks;

sub order { return sql("SELECT place_order('$_[0]', '$_[1]', '$_[2]')"); }

# ---------- success ----------

order('order-1', 'tok_visa', '1 Main Street');
is(wait_for('order-1'), 'succeed', 'an order');
{
	my ($reserve) = requests('stock');
	my ($charge) = requests('payments');
	my ($ship) = requests('shipping');

	is("$reserve->{method} $reserve->{path} $reserve->{body} $reserve->{key}", 'POST /reservations {"sku": "book", "quantity": 1} order-1/01/action', 'stock is asked as it wants to be');
	is("$charge->{method} $charge->{path} $charge->{key} " . join('&', sort split /&/, $charge->{body}), 'POST /v1/charges order-1/02/action amount=30&currency=eur&source=tok_visa', 'so are payments');
	is("$ship->{method} $ship->{path} $ship->{body}", 'PUT /shipments/order-1 {"charge":"ch_1","address":"1 Main Street"}', 'and shipping, with the id of the charge');
}

# ---------- a decline ----------

order('order-2', 'tok_declined', '1 Main Street');
is(wait_for('order-2'), 'failed', 'a declined card');
like(reason('order-2'), qr/card_declined/, 'the reason');
is(lines('payments'), 'POST /v1/charges, DELETE /v1/charges/null', 'the charge is tried once');
is(lines('stock'), 'POST /reservations, DELETE /reservations/2', 'the reservation is undone by its id');
is(lines('shipping'), '', 'nothing is shipped');

# ---------- down for a while, and busy ----------

set('payments', down => 3);
order('order-3', 'tok_visa', '1 Main Street');
is(wait_for('order-3'), 'succeed', 'a provider that was down');
{
	my @charges = requests('payments');
	is(join(' ', map { $_->{key} } @charges), join(' ', ('order-3/02/action') x 4), 'one key for all tries');
}
set('payments', busy => 2, retry_after => 1);
order('order-4', 'tok_visa', '1 Main Street');
is(wait_for('order-4'), 'failed', 'out of stock: a permanent failure');
like(reason('order-4'), qr/out_of_stock/, 'the reason');
is(lines('payments'), '', 'nothing is charged');

# ---------- a refusal after the charge ----------

set('payments', busy => 2, retry_after => 1);
sql("SELECT dtm_submit('saga', '[{\"action\": \"server:stock/reservations/1\", \"method\": \"DELETE\", \"name\": \"restock\"}]')");
eventually($node, "SELECT count(*) FROM dtm.active", '0');
requests($_) for keys %port;
order('order-5', 'tok_visa', 'nowhere');
is(wait_for('order-5'), 'failed', 'a refusal after the charge');
like(reason('order-5'), qr/invalid_address/, 'the reason');
is(lines('payments'), join(', ', ('POST /v1/charges') x 3, 'DELETE /v1/charges/ch_3'), 'busy twice, charged, refunded by its id');
is(lines('shipping'), 'PUT /shipments/order-5, DELETE /shipments/order-5', 'there was no shipment to undo');
is(lines('stock'), 'POST /reservations, DELETE /reservations/4', 'the reservation is undone');
is(sql("SELECT string_agg(http_status || ' ' || result, ', ' ORDER BY started) FROM dtm.calls WHERE gid = 'order-5' AND branch_id = '02'"),
	'429 ERROR, 429 ERROR, 201 SUCCESS, 200 SUCCESS', 'every response is in dtm.calls');

# ---------- what is left ----------

is($json->encode({ map { $_->{id} => $_->{refunded} ? 'refunded' : 'charged' } values %{ state_of('payments')->{items} } }),
	'{"ch_1":"charged","ch_2":"charged","ch_3":"refunded"}', 'one charge for each order');
is($json->encode(state_of('stock')->{left}), '{"book":1}', 'the stock');
is(join(' ', sort keys %{ state_of('shipping')->{items} }), 'order-1 order-3', 'the shipments');

done_testing();
