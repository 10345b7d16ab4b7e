package example;

import dtmpg.Options;
import dtmpg.Step;
import dtmpg.TransType;
import dtmpg.spring.DtmTemplate;
import java.util.List;
import java.util.Map;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.transaction.annotation.Transactional;

/** A shop: stores an order, and submits its saga in the same transaction. */
public class Shop {
	private final JdbcTemplate jdbc;
	private final DtmTemplate dtm;

	public Shop(JdbcTemplate jdbc, DtmTemplate dtm) {
		this.jdbc = jdbc;
		this.dtm = dtm;
	}

	@Transactional
	public String placeOrder(String order, int amount) {
		jdbc.update("INSERT INTO orders (id, amount) VALUES (?, ?)", order, amount);
		return dtm.submit(TransType.SAGA, List.of(
				Step.of("server:bank/withdraw").compensate("server:bank/withdraw/undo")
						.payload(Map.of("account", "alice", "amount", amount)),
				Step.of("server:bank/deposit").compensate("server:bank/deposit/undo")
						.payload(Map.of("account", "bob", "amount", amount))),
				order, new Options());
	}
}
