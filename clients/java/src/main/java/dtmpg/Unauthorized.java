package dtmpg;

/** The signature is missing or wrong. dtm calls again, with a new signature. */
public final class Unauthorized extends Reply {
	public Unauthorized(String message) {
		this(message, null);
	}

	public Unauthorized(String message, Throwable cause) {
		super(401, null, message, cause);
	}
}
