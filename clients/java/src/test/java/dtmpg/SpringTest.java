package dtmpg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dtmpg.spring.Branch;
import dtmpg.spring.DtmProperties;
import dtmpg.spring.DtmTemplate;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.context.properties.bind.BindException;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Import;
import org.springframework.dao.DataAccessException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.transaction.annotation.Transactional;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;

/** What the example with Spring does not reach. If one fails: see its name. */
class SpringTest {
	@EnableAutoConfiguration
	@Import(Controller.class)
	static class Application {}

	@RestController
	static class Controller {
		private final JdbcTemplate jdbc;

		Controller(JdbcTemplate jdbc) {
			this.jdbc = jdbc;
		}

		@PostMapping("/result")
		@Branch(skipped = "again")
		public Map<String, Object> result(Call call) {
			return Map.of("id", 1);
		}

		private Map<String, Object> again(Call call) {
			return Map.of("id", 1, "repeat", true);
		}

		@PostMapping("/raise")
		@Branch
		public void raise(Call call) {
			jdbc.execute("DO $$ BEGIN RAISE 'no' USING ERRCODE = '" + call.json(String.class) + "'; END $$");
		}

		@PostMapping("/checked")
		@Branch
		public void checked(Call call) throws IOException {
			jdbc.update("UPDATE account SET balance = balance + 1 WHERE name = 'alice'");
			throw new IOException("checked exceptions roll back, too");
		}

		@PostMapping("/ignored")
		@Branch
		public void ignored(Call call) {
			try {
				jdbc.execute("SELECT 1 / 0");
			} catch (DataAccessException error) {
				// goes on
			}
		}

		@PostMapping("/transactional")
		@Branch
		@Transactional
		public void transactional(Call call) {
			jdbc.update("UPDATE account SET balance = balance + 1 WHERE name = 'alice'");
			throw new Refused("no");
		}
	}

	private static ConfigurableApplicationContext application;

	@BeforeAll
	static void start() {
		application = SpringApplication.run(Application.class, "--server.address=127.0.0.1", "--server.port=0",
				"--spring.datasource.url=" + World.jdbcUrl("bank_extension"), "--spring.main.banner-mode=off",
				"--logging.level.root=error", "--logging.level.org.apache.catalina=off");
	}

	@AfterAll
	static void stop() {
		application.close();
	}

	private static String post(int status, String path, String gid, String body) throws Exception {
		URI uri = URI.create("http://127.0.0.1:" + application.getEnvironment().getProperty("local.server.port") + path
				+ "?trans_type=saga&branch_id=01&op=action&gid=" + gid);
		HttpResponse<String> response = HttpClient.newHttpClient().send(
				HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofString(body)).build(), HttpResponse.BodyHandlers.ofString());
		assertEquals(status, response.statusCode(), response.body());
		return response.body();
	}

	private static String newGid() {
		return UUID.randomUUID().toString();
	}

	private static String balance() {
		return application.getBean(JdbcTemplate.class).queryForObject("SELECT balance FROM account WHERE name = 'alice'", String.class);
	}

	private static DtmProperties properties(Map<String, String> settings) {
		return new Binder(new MapConfigurationPropertySource(settings)).bindOrCreate("dtm", DtmProperties.class);
	}

	@Test
	void settingWithoutAKeyDoesNotTurnTheCheckOff() {
		assertThrows(BindException.class, () -> properties(Map.of("dtm.keys", "")));
		assertThrows(BindException.class, () -> properties(Map.of("dtm.keys[0]", "0123456789abcdef", "dtm.keys[1]", "")));
		assertEquals(List.of("one", "two"), properties(Map.of("dtm.keys", "one,two")).keys());
		assertEquals(List.of(), properties(Map.of()).keys());
	}

	@Test
	void resultIsTheResponseAndSkippedThatOfARepeat() throws Exception {
		String gid = newGid();
		assertEquals("{\"id\":1}", post(200, "/result", gid, "{}"));
		assertTrue(post(200, "/result", gid, "{}").contains("\"repeat\":true"));
	}

	@Test
	void sqlstatesAreReplies() throws Exception {
		assertEquals("{\"dtm_result\":\"FAILURE\",\"message\":\"no\"}", post(409, "/raise", newGid(), "\"DT409\""));
		assertEquals("{\"dtm_result\":\"ONGOING\",\"message\":\"no\"}", post(425, "/raise", newGid(), "\"DT425\""));
	}

	@Test
	void ignoredErrorIsNoSuccess() throws Exception {
		post(500, "/ignored", newGid(), "{}");
	}

	@Test
	void checkedExceptionsRollBack() throws Exception {
		String before = balance();
		post(500, "/checked", newGid(), "{}");
		assertEquals(before, balance());
	}

	@Test
	void transactionalMethodTakesPartInTheBarriersTransaction() throws Exception {
		String before = balance();
		String gid = newGid();
		post(409, "/transactional", gid, "{}");
		assertEquals(before, balance());
		assertEquals("0", application.getBean(JdbcTemplate.class)
				.queryForObject("SELECT count(*) FROM dtm_barrier.barrier WHERE gid = ?", String.class, gid));
	}

	@Test
	void templateSubmits() {
		DtmTemplate dtm = new DtmTemplate(World.database("shop"));
		assertEquals(26, dtm.submit(TransType.MSG, List.of(Step.of(""))).length());
	}
}
