package dtmpg;

/** A permanent failure: dtm rolls the global transaction back. */
public final class Refused extends Reply {
	public Refused(String message) {
		this(message, null);
	}

	public Refused(String message, Throwable cause) {
		super(409, "FAILURE", message, cause);
	}
}
