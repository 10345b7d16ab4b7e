package dtmpg;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.sun.net.httpserver.HttpHandler;
import java.io.IOException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import javax.sql.DataSource;
import org.postgresql.core.BaseConnection;
import org.postgresql.core.TransactionState;

/** Makes functions branches of global transactions, with JDBC and any HTTP server. */
public final class Participant {
	/** Makes the changes of a branch, in the transaction of the connection, which it does not end. */
	@FunctionalInterface
	public interface Business {
		/** What it returns is the response, as JSON; null is a plain success. */
		Object run(Connection connection, Call call) throws Exception;
	}

	/** A response: its status, and JSON as its body. */
	public record Response(int status, byte[] body) {}

	/** Largest body of a request, in bytes. */
	public static final int MAX_BODY = 16 << 20;

	private static final Map<String, String> SUCCESS = Map.of("dtm_result", "SUCCESS");
	private static final System.Logger LOG = System.getLogger(Participant.class.getName());

	private final DataSource dataSource;
	private final Collection<String> keys;
	private final Duration maxAge;

	/** With the key of the server's user mapping (hmac_key), or several while they change; without one, nothing is checked. */
	public Participant(DataSource dataSource, String... keys) {
		this(dataSource, Call.MAX_AGE, keys);
	}

	/** As above, with the time for which a signature is good. */
	public Participant(DataSource dataSource, Duration maxAge, String... keys) {
		this.dataSource = dataSource;
		this.keys = List.of(keys);
		if (this.keys.contains(""))
			throw new IllegalArgumentException("a key is empty: set it to the hmac_key of the user mapping");
		this.maxAge = maxAge;
	}

	/** A handler of the JDK's own HTTP server. Errors other than replies are logged, and answered by a 500. */
	public HttpHandler branch(Business business) {
		return branch(business, null);
	}

	/** As above, with a function that runs in the transaction when the barrier says that the business must not. */
	public HttpHandler branch(Business business, Business skipped) {
		return exchange -> {
			Response response;
			try {
				response = respond(exchange.getRequestURI().getRawQuery(), exchange.getRequestHeaders()::getFirst,
						exchange.getRequestBody().readNBytes(MAX_BODY + 1), business, skipped);
			} catch (Exception error) {
				LOG.log(System.Logger.Level.ERROR, exchange.getRequestURI().getPath(), error);
				response = new Response(500, Call.encode(Map.of("message", "internal error")));
			}
			exchange.getResponseHeaders().set("Content-Type", "application/json");
			exchange.sendResponseHeaders(response.status(), response.body().length);
			exchange.getResponseBody().write(response.body());
			exchange.close();
		};
	}

	/**
	 * The response to a request. The business runs in a transaction, unless the barrier says that it must not run; then
	 * skipped runs, if there is one. An error that is not a reply rolls back, and is thrown: respond with a 500.
	 *
	 * @param query the query of the URL as it was received, or null
	 * @param header the value of a header, or null
	 */
	public Response respond(String query, UnaryOperator<String> header, byte[] body, Business business, Business skipped)
			throws Exception {
		if (body.length > MAX_BODY)
			throw new IOException("the body has more than " + MAX_BODY + " bytes");
		try {
			Call call = Call.read(query, header, body, keys, maxAge);
			return new Response(200, call.isQueryBack() ? queryBack(call) : run(call, business, skipped));
		} catch (Reply reply) {
			return replied(reply);
		} catch (Exception error) {
			Reply reply = Reply.to(error);
			if (reply == null)
				throw error;
			return replied(reply);
		}
	}

	private static Response replied(Reply reply) throws JsonProcessingException {
		return new Response(reply.status(), Call.encode(reply.body()));
	}

	/** The body of the response. An error rolls back. */
	private byte[] run(Call call, Business business, Business skipped) throws Exception {
		return inTransaction(connection -> {
			boolean passed = ask(connection, "SELECT dtm_barrier(?, ?, ?, ?)",
					call.transType(), call.gid(), call.branchId(), call.op());
			Business chosen = passed ? business : skipped;
			Object result = chosen == null ? null : chosen.run(connection, call);
			return Call.encode(result == null ? SUCCESS : result); // before the commit: an error of it must roll back
		});
	}

	private byte[] queryBack(Call call) throws Exception {
		boolean committed = inTransaction(connection -> ask(connection, "SELECT dtm_query_prepared(?)", call.gid()));
		if (!committed)
			throw new Refused("the local transaction has not committed");
		return Call.encode(SUCCESS);
	}

	private interface Work<T> {
		T in(Connection connection) throws Exception;
	}

	private <T> T inTransaction(Work<T> work) throws Exception {
		try (Connection connection = dataSource.getConnection()) {
			connection.setAutoCommit(false);
			try {
				T result = work.in(connection);
				checkNotFailed(connection);
				connection.commit();
				return result;
			} catch (Throwable error) {
				try {
					connection.rollback();
				} catch (SQLException second) {
					error.addSuppressed(second); // the connection is lost
				}
				throw error;
			}
		}
	}

	/** PostgreSQL turns the COMMIT of a failed transaction into a ROLLBACK, without an error, and the driver does not tell. */
	public static void checkNotFailed(Connection connection) throws SQLException {
		if (connection.unwrap(BaseConnection.class).getTransactionState() == TransactionState.FAILED)
			throw new SQLException("the business ignored an error of the database: its changes are rolled back; "
					+ "run such a statement in a savepoint", "25P02");
	}

	private static boolean ask(Connection connection, String sql, String... values) throws SQLException {
		try (PreparedStatement statement = connection.prepareStatement(sql)) {
			for (int i = 0; i < values.length; i++)
				statement.setString(i + 1, values[i]);
			try (ResultSet rows = statement.executeQuery()) {
				return rows.next() && rows.getBoolean(1);
			}
		}
	}
}
