package dtmpg;

/** Not finished yet: dtm calls again, at a constant interval. */
public final class Ongoing extends Reply {
	public Ongoing(String message) {
		this(message, null);
	}

	public Ongoing(String message, Throwable cause) {
		super(425, "ONGOING", message, cause);
	}
}
