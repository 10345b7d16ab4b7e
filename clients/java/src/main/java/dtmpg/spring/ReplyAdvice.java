package dtmpg.spring;

import dtmpg.Reply;
import java.util.Map;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.RestControllerAdvice;

/** Makes the response of a reply that was thrown. */
@RestControllerAdvice
final class ReplyAdvice {
	@ExceptionHandler
	ResponseEntity<Map<String, String>> respond(Reply reply) {
		return ResponseEntity.status(reply.status()).body(reply.body());
	}
}
