package dtmpg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.jdbc.core.JdbcTemplate;

/** What the examples do not reach. If one fails: see its name. */
class ParticipantTest {
	private static final Duration FOREVER = Duration.ofDays(100_000);
	private static final String KEY = "0123456789abcdef";
	private final Participant participant = new Participant(World.database("bank_extension"));

	private static byte[] utf8(String text) {
		return text.getBytes(StandardCharsets.UTF_8);
	}

	private String serve(int status, Call call, Participant.Business business, Participant.Business skipped) throws Exception {
		String query = "trans_type=saga&gid=" + call.gid() + "&branch_id=01&op=" + call.op();
		Participant.Response response = participant.respond(query, name -> null, call.body(), business, skipped);
		String body = new String(response.body(), StandardCharsets.UTF_8);
		assertEquals(status, response.status(), body);
		return body;
	}

	private static Call call() {
		return World.Request.of("", "action").call();
	}

	private static Participant.Business executing(String sql) {
		return (connection, call) -> connection.createStatement().execute(sql);
	}

	@Test
	void signatureIsTheOneOfTheDocumentation() {
		String documented = "t=1700000000,v1=b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21";
		Call call = new Call("saga", "g", "01", "action", utf8("{\"a\": 1}"));
		assertEquals(documented, call.sign(KEY, Instant.ofEpochSecond(1700000000)));
		assertTrue(call.isSigned(documented, List.of(KEY), FOREVER));
		assertTrue(call.isSigned(documented, List.of("another key, new", KEY), FOREVER));
		assertFalse(call.isSigned(documented, List.of(KEY), Call.MAX_AGE)); // too old
		for (String wrong : List.of("", documented + "0", documented.replace("b2", "b3"), documented.replace("t=1", "t=2")))
			assertFalse(call.isSigned(wrong, List.of(KEY), FOREVER));
		assertFalse(call.isSigned(null, List.of(KEY), FOREVER));
	}

	@Test
	void emptyKeyIsAnError() {
		assertThrows(IllegalArgumentException.class, () -> new Participant(null, KEY, ""));
		assertThrows(NullPointerException.class, () -> new Participant(null, (String) null));
	}

	@Test
	void lineFeedDoesNotShiftTheBoundary() {
		String signature = "t=1,v1=" + "0".repeat(64);
		assertThrows(BadRequest.class, () -> Call.read("trans_type=saga&gid=g%0A01&branch_id=x&op=action",
				name -> name.equals("Dtm-Signature") ? signature : null, new byte[0], List.of(KEY), FOREVER));
	}

	@Test
	void parameterThatIsGivenTwiceIsNone() {
		assertThrows(BadRequest.class, () -> Call.read("trans_type=saga&gid=a&gid=b&branch_id=01&op=action",
				name -> null, new byte[0], List.of(), FOREVER));
	}

	@Test
	void parametersOfAQuery() {
		Call call = Call.read("x&trans_type=saga&gid=a%20b+c%26&branch_id=01&op=action", name -> null, new byte[0], List.of(), FOREVER);
		assertEquals("a b c&", call.gid());
	}

	@Test
	void wordsOfRepliesAreNotMixedUp() throws Exception {
		assertFalse(serve(409, call(), (connection, call) -> {
			throw new Refused("the audit is ONGOING");
		}, null).contains("ONGOING"));
		assertFalse(serve(425, call(), (connection, call) -> {
			throw new Ongoing("after a FAILURE");
		}, null).contains("FAILURE"));
	}

	@ParameterizedTest
	@CsvSource({"DT409, 409", "DT425, 425"})
	void sqlstatesAreReplies(String code, int status) throws Exception {
		String body = serve(status, call(), executing("DO $$ BEGIN RAISE 'no' USING ERRCODE = '" + code + "'; END $$"), null);
		assertTrue(body.contains("\"message\":\"no\""), body);
	}

	@Test
	void ignoredErrorIsNoSuccess() throws Exception {
		Call once = call();
		assertThrows(SQLException.class, () -> serve(0, once, (connection, call) -> {
			assertThrows(SQLException.class, () -> connection.createStatement().execute("SELECT 1 / 0"));
			return null;
		}, null));
		assertEquals("\"done\"", serve(200, once, (connection, call) -> "done", null));
	}

	@Test
	void resultThatIsNoJsonRollsBack() throws Exception {
		Call once = call();
		assertThrows(IOException.class, () -> serve(0, once, (connection, call) -> new Object(), null));
		assertEquals("\"done\"", serve(200, once, (connection, call) -> "done", null));
	}

	@Test
	void skippedRepliesToARepeat() throws Exception {
		Call once = call();
		assertEquals("1", serve(200, once, (connection, call) -> 1, null));
		assertEquals("{\"dtm_result\":\"SUCCESS\"}", serve(200, once, (connection, call) -> 2, null));
		assertEquals("1", serve(200, once, (connection, call) -> 3, (connection, call) -> 1));
	}

	@Test
	void bodyThatIsTooLong() {
		assertThrows(IOException.class, () -> participant.respond("", name -> null, new byte[Participant.MAX_BODY + 1], null, null));
	}

	@Test
	void submitWithoutGid() throws SQLException {
		try (Connection shop = World.database("shop").getConnection()) {
			assertEquals(26, Dtm.submit(shop, TransType.MSG, List.of(Step.of(""))).length());
		}
	}

	@Test
	void stepsAndOptionsAreJson() throws SQLException {
		try (Connection shop = World.database("shop").getConnection()) {
			String gid = Dtm.submit(shop, TransType.MSG, List.of(Step.of("http://127.0.0.1:1/").payloadBase64(utf8("text"))
							.name("one").headers(Map.of("X-A", "b")).requestTimeout(Duration.ofMillis(1500))), null,
					new Options().delay(Duration.ofDays(1)).notify(true).fairnessKey("java"));
			assertEquals("text", new JdbcTemplate(World.database("shop"))
					.queryForObject("SELECT convert_from(payload, 'UTF8') FROM dtm.branches WHERE gid = ?", String.class, gid));
		}
	}

	@Test
	void readmeHasTheExamples() throws IOException {
		String readme = Files.readString(Path.of("README.md"));
		for (String name : List.of("BankSpring", "Shop"))
			assertTrue(readme.contains("```java\n" + Files.readString(Path.of("src/test/java/example", name + ".java")) + "```"), name);
	}
}
