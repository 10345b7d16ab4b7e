package dtmpg.spring;

import java.time.Duration;
import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Settings of an application.
 *
 * @param keys keys of the server's user mapping (hmac_key), several while they change; without this setting, signatures
 *        are not checked
 * @param maxAge time for which a signature is good
 */
@ConfigurationProperties("dtm")
public record DtmProperties(List<String> keys, @DefaultValue("5m") Duration maxAge) {
	public DtmProperties {
		if (keys == null)
			keys = List.of();
		else if (keys.isEmpty() || keys.contains("")) // "dtm.keys=" must not turn the check off
			throw new IllegalArgumentException("dtm.keys has no key, or an empty one: set it to the hmac_key of the user mapping, "
					+ "or leave it out to accept calls without a signature");
	}
}
