package dtmpg;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** A step: URLs of its action and compensation, the body for both, and options (see "Options of steps"). */
public final class Step {
	final Map<String, Object> keys = new LinkedHashMap<>();

	private Step() {}

	/** A step whose action has this URL; "": no call. */
	public static Step of(String action) {
		return new Step().put("action", action);
	}

	public Step compensate(String url) {
		return put("compensate", url);
	}

	public Step payload(Object value) {
		return put("payload", value);
	}

	public Step payloadBase64(byte[] bytes) {
		return put("payload_base64", bytes);
	}

	public Step name(String name) {
		return put("name", name);
	}

	public Step method(String method) {
		return put("method", method);
	}

	public Step compensateMethod(String method) {
		return put("compensate_method", method);
	}

	public Step headers(Map<String, String> headers) {
		return put("headers", headers);
	}

	public Step contentType(String mediaType) {
		return put("content_type", mediaType);
	}

	public Step queryParameters(boolean inQuery) {
		return put("query_parameters", inQuery);
	}

	public Step replies(String how) {
		return put("replies", how);
	}

	public Step success(String statuses) {
		return put("success", statuses);
	}

	public Step finalStatuses(String statuses) {
		return put("final", statuses);
	}

	public Step ongoing(String statuses) {
		return put("ongoing", statuses);
	}

	public Step compensateOk(String statuses) {
		return put("compensate_ok", statuses);
	}

	public Step retryAfter(boolean obey) {
		return put("retry_after", obey);
	}

	public Step requestTimeout(Duration time) {
		return put("request_timeout", seconds(time));
	}

	public Step completeWithin(Duration time) {
		return put("complete_within", seconds(time));
	}

	public Step poll(boolean poll) {
		return put("poll", poll);
	}

	public Step retryInterval(Duration time) {
		return put("retry_interval", seconds(time));
	}

	public Step maxAttempts(int number) {
		return put("max_attempts", number);
	}

	public Step compensateMaxAttempts(int number) {
		return put("compensate_max_attempts", number);
	}

	public Step onExhausted(String what) {
		return put("on_exhausted", what);
	}

	private Step put(String key, Object value) {
		keys.put(key, value);
		return this;
	}

	private static double seconds(Duration time) {
		return time.toMillis() / 1000.0;
	}
}
