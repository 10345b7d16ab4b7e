package dtmpg.spring;

import java.time.Duration;
import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Settings of an application.
 *
 * @param keys keys of the server's user mapping (hmac_key), several while they change; without any, signatures are not
 *        checked
 * @param maxAge time for which a signature is good
 */
@ConfigurationProperties("dtm")
public record DtmProperties(@DefaultValue List<String> keys, @DefaultValue("5m") Duration maxAge) {}
