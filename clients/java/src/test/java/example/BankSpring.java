package example;

import dtmpg.Call;
import dtmpg.Ongoing;
import dtmpg.Refused;
import dtmpg.spring.Branch;
import java.util.List;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.dao.DataIntegrityViolationException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;

/** A bank: withdrawals and deposits are steps of sagas, and each can be undone. */
@SpringBootApplication
@RestController
public class BankSpring {
	record Order(String account, int amount) {}

	private final JdbcTemplate jdbc;

	BankSpring(JdbcTemplate jdbc) {
		this.jdbc = jdbc;
	}

	private void change(Call call, int sign) {
		Order order = call.json(Order.class, "account", "amount");
		List<String> states = jdbc.queryForList("SELECT state FROM account WHERE name = ? FOR UPDATE", String.class, order.account());
		if (states.isEmpty())
			throw new Refused("no account " + order.account());
		if (states.get(0).equals("audited"))
			throw new Ongoing("account " + order.account() + " is being audited");
		try {
			jdbc.update("UPDATE account SET balance = balance + ? WHERE name = ?", sign * order.amount(), order.account());
		} catch (DataIntegrityViolationException error) {
			throw new Refused("not enough money in account " + order.account());
		}
	}

	@PostMapping("/withdraw")
	@Branch
	public void withdraw(Call call) {
		change(call, -1);
	}

	@PostMapping("/withdraw/undo")
	@Branch
	public void undoWithdraw(Call call) {
		change(call, +1);
	}

	@PostMapping("/deposit")
	@Branch
	public void deposit(Call call) {
		change(call, +1);
	}

	@PostMapping("/deposit/undo")
	@Branch
	public void undoDeposit(Call call) {
		change(call, -1);
	}

	public static void main(String[] arguments) {
		SpringApplication.run(BankSpring.class, arguments);
	}
}
