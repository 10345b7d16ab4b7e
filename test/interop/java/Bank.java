import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import pub.dtm.client.barrier.BranchBarrier;

/** The participants: accounts whose balance is changed by the SDK's barrier, over HTTP. */
final class Bank {
	/** The payload of each branch: what to do, and how to respond before that. */
	@JsonInclude(JsonInclude.Include.NON_DEFAULT)
	public static final class Order {
		public String account = "";
		public int amount;
		public boolean refuse;
		public int ongoing;
		public int errors;
		public int undo;
		public String await = "";
		public String header = "";

		static Order of(String account, int amount) {
			Order order = new Order();
			order.account = account;
			order.amount = amount;
			return order;
		}
	}

	private static final class Answer extends Exception {
		private static final long serialVersionUID = 1;
		final int status;

		Answer(int status, String text) {
			super(text);
			this.status = status;
		}
	}

	private static final ObjectMapper JSON = new ObjectMapper();
	private static final String DATABASE = "jdbc:postgresql://" + System.getenv("INTEROP_PGHOST") + ":"
			+ System.getenv("INTEROP_PGPORT") + "/" + System.getenv("INTEROP_PGDATABASE") + "?user="
			+ System.getenv("INTEROP_PGUSER");

	private final Map<String, List<String>> calls = new HashMap<>();
	private final HttpServer server;
	final String url;

	Bank() throws IOException {
		server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
		server.setExecutor(Executors.newCachedThreadPool(task -> {
			Thread thread = new Thread(task);
			thread.setDaemon(true);
			return thread;
		}));
		server.createContext("/bank", this::handle);
		server.start();
		url = "http://127.0.0.1:" + server.getAddress().getPort() + "/bank";
	}

	void stop() {
		server.stop(0);
	}

	/** A connection that turns the barrier's statement for MySQL into one for PostgreSQL. */
	private static Connection connect() throws SQLException {
		Connection real = DriverManager.getConnection(DATABASE);

		return (Connection) Proxy.newProxyInstance(Bank.class.getClassLoader(), new Class<?>[] {Connection.class},
				(proxy, method, arguments) -> {
					if (method.getName().equals("prepareStatement")
							&& ((String) arguments[0]).startsWith("insert ignore into barrier(")) {
						arguments[0] = ((String) arguments[0]).replace("insert ignore into barrier(",
								"insert into dtm_barrier.barrier(") + " on conflict do nothing";
					}
					try {
						return method.invoke(real, arguments);
					} catch (InvocationTargetException e) {
						throw e.getCause();
					}
				});
	}

	void open(String... accounts) throws SQLException {
		try (Connection connection = connect();
				PreparedStatement insert = connection.prepareStatement("INSERT INTO interop.account VALUES (?, 100, 0)")) {
			for (String account : accounts) {
				insert.setString(1, account);
				insert.executeUpdate();
			}
		}
	}

	/** The balance of an account, and what is reserved on it. */
	String balance(String account) throws SQLException {
		try (Connection connection = connect();
				PreparedStatement select = connection
						.prepareStatement("SELECT balance || ' ' || trading FROM interop.account WHERE name = ?")) {
			select.setString(1, account);
			try (ResultSet row = select.executeQuery()) {
				row.next();
				return row.getString(1);
			}
		}
	}

	synchronized String calls(String gid) {
		return String.join(" ", calls.getOrDefault(gid, Collections.emptyList()));
	}

	/** Records a call, and returns the number of earlier calls like it. */
	private synchronized int note(String gid, String call) {
		List<String> list = calls.computeIfAbsent(gid, key -> new ArrayList<>());

		list.add(call);
		return Collections.frequency(list, call) - 1;
	}

	private void handle(HttpExchange exchange) throws IOException {
		int status = 200;
		String text = "{\"dtm_result\":\"SUCCESS\"}";

		try {
			Map<String, String[]> query = new HashMap<>();
			for (String pair : exchange.getRequestURI().getRawQuery().split("&")) {
				String[] parts = pair.split("=", 2);
				query.put(parts[0], new String[] {URLDecoder.decode(parts[1], StandardCharsets.UTF_8)});
			}
			Order order = JSON.readValue(exchange.getRequestBody(), Order.class);
			if (!order.header.isEmpty() && !order.header.equals(exchange.getRequestHeaders().getFirst("x-interop"))) {
				throw new Answer(500, "the header is missing");
			}
			run(query, order);
		} catch (Answer answer) {
			status = answer.status;
			text = answer.getMessage();
		} catch (Exception e) {
			status = 500;
			text = e.toString();
		}
		byte[] body = text.getBytes(StandardCharsets.UTF_8);
		exchange.sendResponseHeaders(status, body.length);
		exchange.getResponseBody().write(body);
		exchange.close();
	}

	private void run(Map<String, String[]> query, Order order) throws Exception {
		String gid = query.get("gid")[0];
		String op = query.get("op")[0];
		int times = note(gid, query.get("branch_id")[0] + "/" + op);

		try (Connection connection = connect()) {
			new BranchBarrier(query).call(connection, barrier -> {
				decide(order, gid, op, times);
				change(connection, op, order);
			});
		}
	}

	private void decide(Order order, String gid, String op, int times) throws Exception {
		if (!op.equals("action") && !op.equals("try")) {
			if (times < order.undo) {
				throw new Answer(500, "later");
			}
			return;
		}
		for (int i = 0; !order.await.isEmpty() && !(calls(gid) + " ").contains(order.await + " "); i++) {
			if (i == 1000) {
				throw new Answer(500, "the awaited call did not arrive");
			}
			Thread.sleep(10);
		}
		if (times < order.ongoing) {
			throw new Answer(425, "ONGOING");
		}
		if (times < order.ongoing + order.errors) {
			throw new Answer(500, "not now");
		}
		if (order.refuse) {
			throw new Answer(409, "not enough money FAILURE");
		}
	}

	private static void change(Connection connection, String op, Order order) throws SQLException {
		int balance = op.equals("action") || op.equals("confirm") ? order.amount
				// the SDK's barrier does not detect a compensation without an action
				: op.equals("compensate") && !order.refuse ? -order.amount : 0;
		int trading = op.equals("try") ? order.amount
				: op.equals("confirm") || op.equals("cancel") ? -order.amount : 0;

		try (PreparedStatement update = connection.prepareStatement(
				"UPDATE interop.account SET balance = balance + ?, trading = trading + ? WHERE name = ?")) {
			update.setInt(1, balance);
			update.setInt(2, trading);
			update.setString(3, order.account);
			update.executeUpdate();
		}
	}
}
