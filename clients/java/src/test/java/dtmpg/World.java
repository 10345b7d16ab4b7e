package dtmpg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import example.BankPlain;
import example.BankSpring;
import example.Shop;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;
import org.springframework.boot.SpringApplication;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * An example bank and the shop. scripts/clients.sh starts the server: the database shop is the coordinator's;
 * bank_extension and bank_participant have the extension and sql/participant.sql.
 */
final class World {
	static final String KEY = "0e4d9be1f0cd8b7a52f84dbb1a1a4e2c";
	private static final HttpClient HTTP = HttpClient.newHttpClient();

	final JdbcTemplate shop = new JdbcTemplate(database("shop"));
	final JdbcTemplate bank;
	final String database;
	private final String url;
	private final AutoCloseable server;
	private final Shop orders = new Shop(shop, new dtmpg.spring.DtmTemplate(shop.getDataSource()));

	private World(String database, int port, AutoCloseable server) {
		this.database = database;
		this.bank = new JdbcTemplate(database(database));
		this.url = "http://127.0.0.1:" + port;
		this.server = server;
	}

	static World spring(String database) {
		ConfigurableApplicationContext application = SpringApplication.run(BankSpring.class, "--server.address=127.0.0.1",
				"--server.port=0", "--spring.datasource.url=" + jdbcUrl(database), "--dtm.keys=" + KEY,
				"--spring.main.banner-mode=off", "--logging.level.root=error", "--logging.level.org.apache.catalina=off");
		int port = application.getEnvironment().getRequiredProperty("local.server.port", Integer.class);
		return new World(database, port, application::close);
	}

	static World plain(String database) throws Exception {
		HttpServer server = BankPlain.start(0, database(database), KEY);
		return new World(database, server.getAddress().getPort(), () -> server.stop(0));
	}

	void stop() throws Exception {
		server.close();
	}

	static String jdbcUrl(String database) {
		return "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + database + "?user=postgres";
	}

	static DataSource database(String name) {
		PGSimpleDataSource source = new PGSimpleDataSource();
		source.setUrl(jdbcUrl(name));
		return source;
	}

	/** Waits for a condition. */
	static void until(Callable<Boolean> what) throws Exception {
		Instant end = Instant.now().plusSeconds(60);
		while (!what.call()) {
			assertTrue(Instant.now().isBefore(end), "condition did not become true");
			Thread.sleep(50);
		}
	}

	void reset() {
		bank.update("UPDATE account SET balance = 100, state = 'open'");
		shop.execute("DROP SERVER IF EXISTS bank CASCADE;"
				+ "CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '" + url + "');"
				+ "CREATE USER MAPPING FOR PUBLIC SERVER bank OPTIONS (hmac_key '" + KEY + "')");
	}

	/** Runs the example of a shop. */
	String order(int amount) {
		String order = UUID.randomUUID().toString();
		return new TransactionTemplate(new DataSourceTransactionManager(shop.getDataSource()))
				.execute(status -> orders.placeOrder(order, amount));
	}

	String one(JdbcTemplate database, String sql, Object... values) {
		return database.queryForObject(sql, String.class, values);
	}

	void ends(String gid, String status) {
		assertEquals(status, one(shop, "SELECT dtm_wait(?, '1 minute')", gid));
	}

	String calls(String gid) {
		String calls = one(shop, "SELECT string_agg(branch_id || ' ' || op || ' ' || http_status, ', ' ORDER BY started) "
				+ "FROM dtm.calls WHERE gid = ?", gid);
		return calls == null ? "" : calls;
	}

	String reason(String gid) {
		return one(shop, "SELECT rollback_reason FROM dtm.transactions WHERE gid = ?", gid);
	}

	void balances(String expected) {
		assertEquals(expected, one(bank, "SELECT string_agg(name || ' ' || balance, ', ' ORDER BY name) FROM account"));
	}

	/** A request as the coordinator makes it. */
	record Request(String path, Call call, String key, Instant at, boolean inHeaders) {
		static Request of(String path, String op) {
			byte[] body = "{\"account\": \"alice\", \"amount\": 30}".getBytes(StandardCharsets.UTF_8);
			return new Request(path, new Call("saga", UUID.randomUUID().toString(), "01", op, body), KEY, Instant.now(), false);
		}

		static Request queryBack() {
			Request saga = of("/withdraw", "msg");
			return saga.with(new Call("msg", saga.call.gid(), "00", "msg", saga.call.body()));
		}

		Request with(Call other) {
			return new Request(path, other, key, at, inHeaders);
		}

		Request with(String otherPath, String op) {
			return new Request(otherPath, new Call(call.transType(), call.gid(), call.branchId(), op, call.body()), key, at, inHeaders);
		}

		Request signed(String otherKey, Instant otherTime) {
			return new Request(path, call, otherKey, otherTime, inHeaders);
		}
	}

	HttpResponse<String> post(Request request) throws Exception {
		Call call = request.call();
		List<String> query = new ArrayList<>();
		HttpRequest.Builder builder = HttpRequest.newBuilder().POST(HttpRequest.BodyPublishers.ofByteArray(call.body()));
		for (Map.Entry<String, String> parameter : Map.of("trans_type", call.transType(), "gid", call.gid(),
				"branch_id", call.branchId(), "op", call.op()).entrySet())
			if (request.inHeaders())
				builder.header("dtm-" + parameter.getKey().replace('_', '-'), parameter.getValue());
			else
				query.add(parameter.getKey() + "=" + URLEncoder.encode(parameter.getValue(), StandardCharsets.UTF_8));
		if (request.key() != null)
			builder.header("Dtm-Signature", call.sign(request.key(), request.at()));
		// not the type of the body: whatever it says, the bytes are what is signed
		builder.header("Content-Type", "application/x-www-form-urlencoded");
		builder.uri(URI.create(url + request.path() + "?" + String.join("&", query)));
		return HTTP.send(builder.build(), HttpResponse.BodyHandlers.ofString());
	}

	String expect(int status, Request request) throws Exception {
		HttpResponse<String> response = post(request);
		assertEquals(status, response.statusCode(), response.body());
		return response.body();
	}
}
