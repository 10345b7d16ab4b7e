package dtmpg.spring;

import dtmpg.Dtm;
import dtmpg.Options;
import dtmpg.Step;
import dtmpg.TransType;
import java.util.List;
import javax.sql.DataSource;
import org.springframework.jdbc.core.ConnectionCallback;
import org.springframework.jdbc.core.JdbcTemplate;

/** Submits global transactions in Spring's current transaction. */
public class DtmTemplate {
	private final JdbcTemplate jdbc;

	public DtmTemplate(DataSource dataSource) {
		jdbc = new JdbcTemplate(dataSource);
	}

	/** As below; dtm makes the gid. */
	public String submit(TransType type, List<Step> steps) {
		return submit(type, steps, null, new Options());
	}

	/** As {@link Dtm#submit}, in a method that is {@code @Transactional}. */
	public String submit(TransType type, List<Step> steps, String gid, Options options) {
		return jdbc.execute((ConnectionCallback<String>) connection -> Dtm.submit(connection, type, steps, gid, options));
	}
}
