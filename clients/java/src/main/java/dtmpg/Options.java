package dtmpg;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Options of a global transaction; the SQL reference explains them (see "Submitting"). */
public final class Options {
	final Map<String, Object> keys = new LinkedHashMap<>();

	public Options() {}

	public Options timeoutToFail(Duration age) {
		return put("timeout_to_fail", seconds(age));
	}

	public Options retryInterval(Duration time) {
		return put("retry_interval", seconds(time));
	}

	public Options requestTimeout(Duration time) {
		return put("request_timeout", seconds(time));
	}

	public Options retryLimit(int number) {
		return put("retry_limit", number);
	}

	public Options branchHeaders(Map<String, String> headers) {
		return put("branch_headers", headers);
	}

	public Options concurrent(boolean concurrent) {
		return put("concurrent", concurrent);
	}

	public Options orders(Map<String, List<Integer>> orders) {
		return put("orders", orders);
	}

	public Options delay(Duration time) {
		return put("delay", seconds(time));
	}

	public Options queryPrepared(String url) {
		return put("query_prepared", url);
	}

	public Options protocol(String protocol) {
		return put("protocol", protocol);
	}

	public Options notify(boolean notify) {
		return put("notify", notify);
	}

	public Options traceparent(String trace) {
		return put("traceparent", trace);
	}

	public Options onFinish(String url) {
		return put("on_finish", url);
	}

	public Options lane(String name) {
		return put("lane", name);
	}

	public Options laneOnPark(String what) {
		return put("lane_on_park", what);
	}

	public Options fairnessKey(String key) {
		return put("fairness_key", key);
	}

	public Options results(boolean keep) {
		return put("results", keep);
	}

	public Options name(String name) {
		return put("name", name);
	}

	public Options data(Object data) {
		return put("data", data);
	}

	public Options status(String status) {
		return put("status", status);
	}

	public Options result(Object result) {
		return put("result", result);
	}

	public Options rollbackReason(String reason) {
		return put("rollback_reason", reason);
	}

	private Options put(String key, Object value) {
		keys.put(key, value);
		return this;
	}

	private static double seconds(Duration time) {
		return time.toMillis() / 1000.0;
	}
}
