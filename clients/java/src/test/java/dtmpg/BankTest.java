package dtmpg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dtmpg.World.Request;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.dao.DataAccessException;

/**
 * The example banks under sagas and under direct calls. If one fails, a participant that uses the helpers does its
 * business twice, or not at all, or takes orders from strangers.
 */
class BankTest {
	@Nested
	class SpringWithExtension extends Bank {
		@Override
		World start() {
			return World.spring("bank_extension");
		}
	}

	@Nested
	class SpringWithParticipant extends Bank {
		@Override
		World start() {
			return World.spring("bank_participant");
		}
	}

	@Nested
	class PlainWithExtension extends Bank {
		@Override
		World start() throws Exception {
			return World.plain("bank_extension");
		}
	}

	@Nested
	class PlainWithParticipant extends Bank {
		@Override
		World start() throws Exception {
			return World.plain("bank_participant");
		}
	}

	@TestInstance(TestInstance.Lifecycle.PER_CLASS)
	abstract static class Bank {
		private World world;

		abstract World start() throws Exception;

		@BeforeAll
		void startBank() throws Exception {
			world = start();
		}

		@AfterAll
		void stopBank() throws Exception {
			world.stop();
		}

		@BeforeEach
		void reset() {
			world.reset();
		}

		@Test
		void sagaSucceeds() {
			String order = world.order(30);
			world.ends(order, "succeed");
			world.balances("alice 70, bob 130");
			assertEquals("01 action 200, 02 action 200", world.calls(order));
		}

		@Test
		void sagaWithoutQueryParametersSucceeds() throws SQLException {
			world.shop.execute("ALTER SERVER bank OPTIONS (ADD query_parameters 'off')");
			String gid = "ö / % + " + UUID.randomUUID();
			try (Connection connection = world.shop.getDataSource().getConnection()) {
				Dtm.submit(connection, TransType.SAGA,
						List.of(Step.of("server:bank/deposit").payload(Map.of("account", "bob", "amount", 1))), gid, new Options());
			}
			world.ends(gid, "succeed");
			world.balances("alice 100, bob 101");
			assertEquals("1", world.one(world.bank, "SELECT count(*) FROM dtm_barrier.barrier WHERE gid = ?", gid));
		}

		@Test
		void refusalIsCompensated() {
			world.bank.update("DELETE FROM account WHERE name = 'bob'");
			try {
				// the step that was refused is compensated, too: the barrier says that there is nothing to undo
				String order = world.order(30);
				world.ends(order, "failed");
				assertEquals("01 action 200, 02 action 409, 02 compensate 200, 01 compensate 200", world.calls(order));
				assertTrue(world.reason(order).contains("no account bob"), world.reason(order));
				world.balances("alice 100");
			} finally {
				world.bank.update("INSERT INTO account VALUES ('bob', 100)");
			}
		}

		@Test
		void brokenConstraintIsRefused() {
			String order = world.order(101);
			world.ends(order, "failed");
			assertTrue(world.reason(order).contains("not enough money"), world.reason(order));
			world.balances("alice 100, bob 100");
		}

		@Test
		void notYetIsRetried() throws Exception {
			world.bank.update("UPDATE account SET state = 'audited' WHERE name = 'bob'");
			String order = world.order(30);
			World.until(() -> world.calls(order).contains("02 action 425"));
			world.bank.update("UPDATE account SET state = 'open' WHERE name = 'bob'");
			world.ends(order, "succeed");
			world.balances("alice 70, bob 130");
		}

		@Test
		void exceptionIsRetried() throws Exception {
			world.bank.execute("ALTER TABLE account RENAME TO gone");
			String order;
			try {
				order = world.order(30);
				World.until(() -> world.calls(order).contains("01 action 500"));
			} finally {
				world.bank.execute("ALTER TABLE gone RENAME TO account");
			}
			world.ends(order, "succeed");
			world.balances("alice 70, bob 130");
		}

		@Test
		void lostConnectionIsRetried() throws Exception {
			String order;
			try (Connection lock = world.bank.getDataSource().getConnection()) {
				lock.setAutoCommit(false);
				lock.createStatement().execute("SELECT FROM account FOR UPDATE");
				order = world.order(30);
				// those that wait for the lock: the bank's
				World.until(() -> !world.one(world.shop, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
						+ "WHERE datname = ? AND wait_event_type = 'Lock'", world.database).equals("0"));
				lock.commit();
			}
			world.ends(order, "succeed");
			assertTrue(world.calls(order).startsWith("01 action 500, "), world.calls(order));
			world.balances("alice 70, bob 130");
		}

		@Test
		void wrongKeyIsRetriedUntilItIsRight() throws Exception {
			world.shop.execute("ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key 'this is the wrong key')");
			String order = world.order(30);
			World.until(() -> world.calls(order).contains("01 action 401"));
			world.balances("alice 100, bob 100");
			world.shop.execute("ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key '" + World.KEY + "')");
			world.ends(order, "succeed");
			world.balances("alice 70, bob 130");
		}

		@ParameterizedTest
		@ValueSource(booleans = {false, true})
		void repeatDoesNothing(boolean inHeaders) throws Exception {
			Request query = Request.of("/withdraw", "action");
			Request request = new Request(query.path(), query.call(), query.key(), query.at(), inHeaders);
			world.expect(200, request);
			world.expect(200, request);
			world.balances("alice 70, bob 100");
		}

		@Test
		void compensationBeforeItsAction() throws Exception {
			Request undo = Request.of("/withdraw/undo", "compensate");
			world.expect(200, undo);
			world.balances("alice 100, bob 100");
			world.expect(200, undo.with("/withdraw", "action")); // too late
			world.balances("alice 100, bob 100");
		}

		@Test
		void strangerIsTurnedAway() throws Exception {
			Request request = Request.of("/withdraw", "action");
			for (Request stranger : List.of(request.signed(null, Instant.now()),
					request.signed("this is the wrong key", Instant.now()),
					request.signed(World.KEY, Instant.now().minusSeconds(400)))) {
				world.expect(401, stranger);
				world.balances("alice 100, bob 100");
			}
			world.expect(200, request); // and they have left no trace
			world.balances("alice 70, bob 100");
		}

		/** The reply tells whether the local transaction of a message has committed, and if not, it never does. */
		@Test
		void queryBack() throws Exception {
			Request done = Request.queryBack();
			Request lost = Request.queryBack();
			String barrier = "SELECT dtm_barrier('msg', ?, '00', 'msg')";
			world.one(world.bank, barrier, done.call().gid());
			for (int i = 0; i < 2; i++) {
				world.expect(200, done);
				world.expect(409, lost);
			}
			Exception duplicate = assertThrows(DataAccessException.class, () -> world.one(world.bank, barrier, lost.call().gid()));
			assertTrue(duplicate.getMessage().contains("DUPLICATED"), duplicate.getMessage());
			world.balances("alice 100, bob 100");
		}

		@Test
		void requestWithoutParameters() throws Exception {
			Call call = Request.of("", "action").call();
			world.expect(400, Request.of("/withdraw", "action").with(new Call("saga", "", "01", "action", call.body())));
		}

		@Test
		void bodyWithoutAKey() throws Exception {
			for (String[] each : new String[][] {{"{\"amount\": 30}", "account"}, {"{\"account\": \"alice\"}", "amount"}, {"[]", "account"}}) {
				String gid = UUID.randomUUID().toString();
				Request request = Request.of("/withdraw", "action")
						.with(new Call("saga", gid, "01", "action", each[0].getBytes(StandardCharsets.UTF_8)));
				assertTrue(world.expect(400, request).contains("key \\\"" + each[1] + "\\\" is missing in the body"));
			}
			world.balances("alice 100, bob 100");
		}

		@Test
		void rollbackLeavesNothing() throws SQLException {
			String gid = UUID.randomUUID().toString();
			try (Connection connection = world.shop.getDataSource().getConnection()) {
				connection.setAutoCommit(false);
				Dtm.submit(connection, TransType.SAGA, List.of(Step.of("server:bank/deposit")), gid, new Options());
				connection.rollback();
			}
			assertNull(world.one(world.shop, "SELECT dtm_status(?)", gid));
		}
	}
}
