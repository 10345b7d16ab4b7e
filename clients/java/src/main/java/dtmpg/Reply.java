package dtmpg;

import java.sql.SQLException;
import java.util.Map;
import java.util.TreeMap;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Ends the business with a response that is not success; its changes are rolled back. */
public abstract sealed class Reply extends RuntimeException permits Refused, Ongoing, BadRequest, Unauthorized {
	private final int status;
	private final String result;

	Reply(int status, String result, String message, Throwable cause) {
		super(message, cause);
		this.status = status;
		this.result = result;
	}

	/** The status of the response. */
	public int status() {
		return status;
	}

	/** The body of the response. */
	public Map<String, String> body() {
		Map<String, String> body = new TreeMap<>();
		if (result != null)
			body.put("dtm_result", result);
		// dtm looks for both words in the whole body, so the message must not have the other one
		body.put("message", getMessage().replace("FAILURE", "failure").replace("ONGOING", "ongoing"));
		return body;
	}

	/** The reply of a function in the database that raised one of dtm's SQLSTATEs, which caused this error; or null. */
	public static Reply to(Throwable error) {
		for (Throwable cause = error; cause != null; cause = cause.getCause())
			if (cause instanceof SQLException raised && raised.getSQLState() != null)
				switch (raised.getSQLState()) {
					case "DT409": return new Refused(message(raised), error);
					case "DT425": return new Ongoing(message(raised), error);
					default: break;
				}
		return null;
	}

	private static String message(SQLException raised) {
		ServerErrorMessage message = raised instanceof PSQLException error ? error.getServerErrorMessage() : null;
		return message == null ? raised.getMessage() : message.getMessage();
	}
}
