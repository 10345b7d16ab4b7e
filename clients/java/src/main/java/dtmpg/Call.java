package dtmpg;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.HexFormat;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * One operation of one branch of a global transaction.
 *
 * @param body the bytes as received: the payload of the step
 */
public record Call(String transType, String gid, String branchId, String op, byte[] body) {
	/** Time for which a signature is good, if nothing else is said. */
	public static final Duration MAX_AGE = Duration.ofMinutes(5);

	static final ObjectMapper JSON = new ObjectMapper();
	private static final Pattern SIGNATURE = Pattern.compile("t=([0-9]{1,12}),v1=[0-9a-f]{64}");

	/**
	 * The payload, which is JSON, as a value of a class: a record, or JsonNode. If it is not, or lacks one of
	 * the required keys, the response has status 400 and says so.
	 */
	public <T> T json(Class<T> type, String... required) {
		try {
			JsonNode value = JSON.readTree(body);
			for (String key : required)
				if (!value.hasNonNull(key))
					throw new BadRequest("key \"" + key + "\" is missing in the body");
			return JSON.readValue(body, type);
		} catch (IOException error) {
			throw new BadRequest("the body is not the JSON that is expected", error);
		}
	}

	/** Whether dtm asks if the local transaction of a prepared message has committed. */
	public boolean isQueryBack() {
		return op.equals("msg"); // transType is not signed
	}

	/**
	 * The call that a request is.
	 *
	 * @param query the query of the URL as it was received, or null
	 * @param header the value of a header, or null
	 * @param keys if there are any, the request must be signed with one of them, at most maxAge ago
	 */
	public static Call read(String query, UnaryOperator<String> header, byte[] body, Collection<String> keys, Duration maxAge) {
		Call call = new Call(parameter(query, header, "trans_type"), parameter(query, header, "gid"),
				parameter(query, header, "branch_id"), parameter(query, header, "op"), body);
		if (!keys.isEmpty() && !call.isSigned(header.apply("Dtm-Signature"), keys, maxAge))
			throw new Unauthorized("the signature is missing or wrong");
		return call;
	}

	/** Whether this Dtm-Signature was made for this call with one of the keys, at most maxAge ago. */
	public boolean isSigned(String signature, Collection<String> keys, Duration maxAge) {
		Matcher match = SIGNATURE.matcher(signature == null ? "" : signature);
		if (!match.matches())
			return false;
		Instant at = Instant.ofEpochSecond(Long.parseLong(match.group(1)));
		if (Duration.between(at, Instant.now()).abs().compareTo(maxAge) > 0)
			return false;
		return keys.stream().anyMatch(key -> MessageDigest.isEqual(utf8(sign(key, at)), utf8(signature)));
	}

	/** The Dtm-Signature of this call at a time, of which seconds count. */
	public String sign(String key, Instant at) {
		if ((gid + branchId + op).contains("\n"))
			throw new BadRequest("a parameter contains a line feed"); // it would shift the boundary between the fields
		String seconds = Long.toString(at.getEpochSecond());
		try {
			Mac mac = Mac.getInstance("HmacSHA256");
			mac.init(new SecretKeySpec(utf8(key), "HmacSHA256"));
			mac.update(utf8(String.join("\n", seconds, gid, branchId, op, "")));
			return "t=" + seconds + ",v1=" + HexFormat.of().formatHex(mac.doFinal(body));
		} catch (GeneralSecurityException error) {
			throw new IllegalStateException(error); // every Java has HmacSHA256
		}
	}

	private static String parameter(String query, UnaryOperator<String> header, String name) {
		String value = null;
		for (String pair : query == null ? new String[0] : query.split("&"))
			if (pair.startsWith(name + "=")) {
				if (value != null)
					throw new BadRequest("parameter \"" + name + "\" is given twice");
				value = decoded(pair.substring(name.length() + 1));
			}
		if (value == null) { // dtm sends headers if the option query_parameters is off; a plus is a plus in them
			String encoded = header.apply("dtm-" + name.replace('_', '-'));
			value = encoded == null ? null : decoded(encoded.replace("+", "%2B"));
		}
		if (value == null || value.isEmpty())
			throw new BadRequest("parameter \"" + name + "\" is missing: the request is not a call of dtm");
		return value;
	}

	private static String decoded(String value) {
		try {
			return URLDecoder.decode(value, StandardCharsets.UTF_8);
		} catch (IllegalArgumentException error) {
			throw new BadRequest("a parameter is not percent-encoded");
		}
	}

	private static byte[] utf8(String text) {
		return text.getBytes(StandardCharsets.UTF_8);
	}

	static byte[] encode(Object value) throws JsonProcessingException {
		return JSON.writeValueAsBytes(value);
	}
}
