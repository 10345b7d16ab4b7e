package dtmpg;

/** The request does not have the parameters of a branch. */
public final class BadRequest extends Reply {
	public BadRequest(String message) {
		this(message, null);
	}

	public BadRequest(String message, Throwable cause) {
		super(400, null, message, cause);
	}
}
