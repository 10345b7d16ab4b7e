package example;

import com.sun.net.httpserver.HttpServer;
import dtmpg.Call;
import dtmpg.Ongoing;
import dtmpg.Participant;
import dtmpg.Refused;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.concurrent.Executors;
import javax.sql.DataSource;

/** The same bank with JDBC and the JDK's HTTP server only. */
public final class BankPlain {
	record Order(String account, int amount) {}

	private BankPlain() {}

	private static Participant.Business change(int sign) {
		return (connection, call) -> {
			change(connection, call, sign);
			return null;
		};
	}

	private static void change(Connection connection, Call call, int sign) throws SQLException {
		Order order = call.json(Order.class, "account", "amount");
		try (PreparedStatement select = connection.prepareStatement("SELECT state FROM account WHERE name = ? FOR UPDATE")) {
			select.setString(1, order.account());
			ResultSet rows = select.executeQuery();
			if (!rows.next())
				throw new Refused("no account " + order.account());
			if (rows.getString(1).equals("audited"))
				throw new Ongoing("account " + order.account() + " is being audited");
		}
		try (PreparedStatement update = connection.prepareStatement("UPDATE account SET balance = balance + ? WHERE name = ?")) {
			update.setInt(1, sign * order.amount());
			update.setString(2, order.account());
			update.executeUpdate();
		} catch (SQLException error) {
			if ("23514".equals(error.getSQLState())) // check constraint
				throw new Refused("not enough money in account " + order.account());
			throw error;
		}
	}

	public static HttpServer start(int port, DataSource dataSource, String key) throws IOException {
		HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
		server.setExecutor(Executors.newCachedThreadPool());
		Participant bank = new Participant(dataSource, key);
		server.createContext("/withdraw", bank.branch(change(-1)));
		server.createContext("/withdraw/undo", bank.branch(change(+1)));
		server.createContext("/deposit", bank.branch(change(+1)));
		server.createContext("/deposit/undo", bank.branch(change(-1)));
		server.start();
		return server;
	}
}
