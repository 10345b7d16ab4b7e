import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Phaser;
import pub.dtm.client.DtmClient;
import pub.dtm.client.exception.FailureException;
import pub.dtm.client.saga.Saga;
import pub.dtm.client.tcc.Tcc;

/**
 * The SDK of Java against a server that speaks dtm's protocol.
 *
 * Scenarios run concurrently, each with its own accounts. Those that need a restart
 * of the server share one, after all others have ended.
 */
public final class Interop {
	private static final String SERVER = System.getenv("INTEROP_HTTP");
	private static final String LABEL = System.getenv("INTEROP_LABEL");
	private static final long PATIENCE = 90_000;
	private static final HttpClient HTTP = HttpClient.newHttpClient();
	private static final ObjectMapper JSON = new ObjectMapper();
	private static final DtmClient DTM = new DtmClient();
	private static final List<Scenario> SCENARIOS = new ArrayList<>();
	private static Bank bank;

	private interface Action {
		void run(Test test) throws Exception;
	}

	private static final class Scenario {
		final String name;
		final boolean restarts;
		final Action action;

		Scenario(String name, boolean restarts, Action action) {
			this.name = name;
			this.restarts = restarts;
			this.action = action;
		}
	}

	private static final class Fault extends Exception {
		private static final long serialVersionUID = 1;

		Fault(String text) {
			super(text);
		}
	}

	/** A scenario that runs. */
	private static final class Test {
		final String gid;
		final Bank.Order out;
		final Bank.Order in;
		final Phaser restart;

		Test(Phaser restart) throws Exception {
			gid = newGid();
			out = Bank.Order.of(gid + "/out", -30);
			in = Bank.Order.of(gid + "/in", 30);
			bank.open(out.account, in.account);
			this.restart = restart;
		}

		Saga saga() {
			return DTM.newSaga(gid).add(bank.url, bank.url, out).add(bank.url, bank.url, in);
		}

		void call(Tcc tcc, Bank.Order order) throws Exception {
			tcc.callBranch(order, bank.url, bank.url, bank.url).close();
		}

		JsonNode state() throws Exception {
			return get("/query?gid=" + gid).get("transaction");
		}

		void is(String status) throws Exception {
			same("status", state().path("status").asText(), status);
		}

		void ends(String status) throws Exception {
			waitFor(() -> Arrays.asList("succeed", "failed", status).contains(state().path("status").asText()));
			is(status);
		}

		void calls(String want) throws Fault {
			same("calls", bank.calls(gid), want);
		}

		void moved(int fromOut, int intoIn) throws Exception {
			same("balance out", bank.balance(out.account), (100 + fromOut) + " 0");
			same("balance in", bank.balance(in.account), (100 + intoIn) + " 0");
		}

		/** Waits until the server is down, and at the second call until it is up. */
		void nextPhase() {
			restart.arriveAndAwaitAdvance();
		}
	}

	private static void same(String what, Object have, Object want) throws Fault {
		if (!want.equals(have)) {
			throw new Fault(what + ": " + have + ", not " + want);
		}
	}

	private static void rejected(Callable<?> call) throws Exception {
		try {
			call.call();
		} catch (FailureException e) {
			return;
		}
		throw new Fault("no FailureException");
	}

	private static boolean waitFor(Callable<Boolean> condition) throws InterruptedException {
		for (long end = System.currentTimeMillis() + PATIENCE; System.currentTimeMillis() < end; Thread.sleep(50)) {
			try {
				if (condition.call()) {
					return true;
				}
			} catch (Exception e) {
				// the server is not there yet
			}
		}
		return false;
	}

	private static JsonNode get(String path) throws IOException, InterruptedException {
		return JSON.readTree(HTTP.send(HttpRequest.newBuilder(URI.create(SERVER + path)).build(),
				HttpResponse.BodyHandlers.ofString()).body());
	}

	private static String newGid() throws IOException, InterruptedException {
		return get("/newGid").get("gid").asText();
	}

	private static void add(String name, Action action) {
		SCENARIOS.add(new Scenario(name, false, action));
	}

	private static void addRestart(String name, Action action) {
		SCENARIOS.add(new Scenario(name, true, action));
	}

	private static void sagas() {
		add("saga succeeds; ONGOING and errors are retried", t -> {
			t.out.ongoing = 1;
			t.in.errors = 1;
			t.saga().submit();
			t.ends("succeed");
			t.calls("01/action 01/action 02/action 02/action");
			t.moved(-30, 30);
		});
		add("saga: the server gives the gid", t -> {
			String gid = DTM.newSaga().add(bank.url, bank.url, t.out).submit();
			waitFor(() -> get("/query?gid=" + gid).path("transaction").path("status").asText().equals("succeed"));
			t.moved(-30, 0);
		});
		add("saga is rejected and rolled back, last step first", t -> {
			t.in.refuse = true;
			t.out.undo = 1;
			t.saga().submit();
			t.ends("failed");
			t.calls("01/action 02/action 02/compensate 01/compensate 01/compensate");
			t.moved(0, 0);
		});
		add("saga concurrent with orders", t -> {
			t.out.await = "02/action";
			t.in.await = "01/action";
			t.saga().add(bank.url, bank.url, Bank.Order.of(t.in.account, 5)).enableConcurrent()
					.addBranchOrder(2, Arrays.asList(0, 1)).submit();
			t.ends("succeed");
			if (!bank.calls(t.gid).endsWith(" 03/action")) {
				throw new Fault("03 was not last: " + bank.calls(t.gid));
			}
			t.moved(-30, 35);
		});
		add("saga concurrent with orders is rejected: what could not start is not compensated", t -> {
			t.out.refuse = true;
			t.saga().enableConcurrent().addBranchOrder(1, Arrays.asList(0)).submit();
			t.ends("failed");
			t.calls("01/action 01/compensate");
			t.moved(0, 0);
		});
		add("saga: wait_result returns when it has succeeded", t -> {
			t.saga().enableWaitResult().submit();
			t.is("succeed");
			t.moved(-30, 30);
		});
		add("saga: wait_result is an error when it is rolled back", t -> {
			t.in.refuse = true;
			rejected(() -> t.saga().enableWaitResult().submit());
			t.is("failed");
			t.moved(0, 0);
		});
		add("saga: branch headers", t -> {
			t.out.header = "yes";
			t.in.header = "yes";
			Saga saga = t.saga();
			saga.getBranchHeaders().put("x-interop", "yes");
			saga.submit();
			t.ends("succeed");
			t.calls("01/action 02/action");
		});
		add("saga that has ended cannot be submitted again", t -> {
			t.saga().submit();
			t.ends("succeed");
			rejected(() -> t.saga().submit());
			t.moved(-30, 30);
		});
		addRestart("saga goes on after a restart of the server", t -> {
			t.in.ongoing = 2;
			t.saga().submit();
			waitFor(() -> bank.calls(t.gid).contains("02/action"));
			t.nextPhase();
			t.nextPhase();
			t.ends("succeed");
			t.calls("01/action 02/action 02/action 02/action");
			t.moved(-30, 30);
		});
		addRestart("saga: a submit to a stopped server fails and can be repeated", t -> {
			t.nextPhase();
			rejected(() -> t.saga().submit());
			t.nextPhase();
			t.saga().submit();
			t.ends("succeed");
			t.moved(-30, 30);
		});
	}

	private static void tccs() {
		add("tcc succeeds, last registered confirmed first", t -> {
			t.out.undo = 0;
			t.in.undo = 1;
			same("gid", DTM.tccGlobalTransaction(t.gid, tcc -> {
				t.call(tcc, t.out);
				t.call(tcc, t.in);
			}), t.gid);
			t.ends("succeed");
			t.calls("01/try 02/try 02/confirm 02/confirm 01/confirm");
			t.moved(-30, 30);
		});
		add("tcc is rejected and cancelled", t -> {
			t.in.refuse = true;
			t.out.undo = 1;
			rejected(() -> DTM.tccGlobalTransaction(t.gid, tcc -> {
				t.call(tcc, t.out);
				t.call(tcc, t.in);
			}));
			t.ends("failed");
			t.calls("01/try 02/try 02/cancel 01/cancel 01/cancel");
			t.moved(0, 0);
		});
		add("tcc: time-out before the submit", t -> {
			try {
				DTM.tccGlobalTransaction(t.gid, tcc -> {
					t.call(tcc, t.out);
					t.ends("failed");
					t.call(tcc, t.in);
				});
				throw new Fault("no error after a time-out");
			} catch (feign.FeignException | FailureException e) {
				// the registration is rejected, so the SDK aborts, which is rejected as well
			}
			t.calls("01/try 01/cancel");
			t.moved(0, 0);
		});
		addRestart("tcc: a restart of the server between its tries", t -> {
			DTM.tccGlobalTransaction(t.gid, tcc -> {
				t.call(tcc, t.out);
				t.nextPhase();
				t.nextPhase();
				t.call(tcc, t.in);
			});
			t.ends("succeed");
			t.moved(-30, 30);
		});
	}

	private static void run(Scenario scenario, Phaser restart) {
		Test test = null;
		String fault = "";

		try {
			test = new Test(restart);
			scenario.action.run(test);
		} catch (Throwable e) {
			StringWriter text = new StringWriter();
			e.printStackTrace(new PrintWriter(text));
			fault = "#   " + text.toString().trim().replace("\n", "\n#   ") + "\n";
			try {
				fault += test == null ? ""
						: "#   gid " + test.gid + ", calls " + bank.calls(test.gid) + ", at the server "
								+ get("/query?gid=" + test.gid) + "\n";
			} catch (Exception gone) {
				fault += "#   " + gone + "\n";
			}
		} finally {
			restart.arriveAndDeregister();
		}
		synchronized (SCENARIOS) {
			System.out.print((fault.isEmpty() ? "ok" : "not ok") + " - " + LABEL + ": " + scenario.name + "\n" + fault);
			System.out.flush();
		}
	}

	private static void control(String what) {
		try {
			if (new ProcessBuilder(System.getenv("INTEROP_CONTROL"), what).inheritIO().start().waitFor() != 0) {
				throw new IllegalStateException(what);
			}
		} catch (IOException | InterruptedException e) {
			throw new IllegalStateException(e);
		}
	}

	private static void runAll(boolean restarts) throws InterruptedException {
		List<Thread> threads = new ArrayList<>();
		Phaser restart = new Phaser() {
			@Override
			protected boolean onAdvance(int phase, int parties) {
				if (restarts && phase == 0) {
					control("stop");
				} else if (restarts && phase == 1) {
					control("start");
					try {
						waitFor(() -> !newGid().isEmpty());
					} catch (InterruptedException e) {
						throw new IllegalStateException(e);
					}
				}
				return parties == 0;
			}
		};

		restart.register();
		for (Scenario scenario : SCENARIOS) {
			if (scenario.restarts == restarts) {
				restart.register();
				threads.add(new Thread(() -> run(scenario, restart)));
			}
		}
		threads.forEach(Thread::start);
		if (restarts) {
			restart.arriveAndAwaitAdvance();
			restart.arriveAndAwaitAdvance();
		}
		restart.arriveAndDeregister();
		for (Thread thread : threads) {
			thread.join();
		}
	}

	public static void main(String[] arguments) throws Exception {
		bank = new Bank();
		sagas();
		tccs();
		runAll(false);
		runAll(true);
		bank.stop();
		System.exit(0);
	}
}
