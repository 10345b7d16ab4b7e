package dtmpg;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;

/** Submits global transactions in the database transaction of the caller. */
public final class Dtm {
	private Dtm() {}

	/** As below; dtm makes the gid. */
	public static String submit(Connection connection, TransType type, List<Step> steps) throws SQLException {
		return submit(connection, type, steps, null, new Options());
	}

	/**
	 * Submits in the current transaction of the connection, and returns the gid. The global transaction starts when the
	 * caller commits. If the caller rolls back, nothing is stored and nothing is called.
	 *
	 * @param gid unique in the database; null: dtm makes one
	 */
	public static String submit(Connection connection, TransType type, List<Step> steps, String gid, Options options)
			throws SQLException {
		// json, not jsonb: payloads are sent to the letter
		try (PreparedStatement statement = connection.prepareStatement("SELECT dtm_submit(?, ?::json, ?, ?::jsonb)")) {
			statement.setString(1, type.name().toLowerCase(java.util.Locale.ROOT));
			statement.setString(2, json(steps.stream().map(step -> step.keys).toList()));
			statement.setString(3, gid);
			statement.setString(4, json(options.keys));
			try (ResultSet rows = statement.executeQuery()) {
				rows.next();
				return rows.getString(1);
			}
		}
	}

	private static String json(Object value) {
		try {
			return Call.JSON.writeValueAsString(value);
		} catch (JsonProcessingException error) {
			throw new IllegalArgumentException("a payload cannot be written as JSON", error);
		}
	}
}
