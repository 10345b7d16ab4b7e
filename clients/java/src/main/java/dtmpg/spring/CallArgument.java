package dtmpg.spring;

import dtmpg.Call;
import dtmpg.Participant;
import jakarta.servlet.http.HttpServletRequest;
import java.io.IOException;
import org.springframework.core.MethodParameter;
import org.springframework.web.bind.support.WebDataBinderFactory;
import org.springframework.web.context.request.NativeWebRequest;
import org.springframework.web.method.support.HandlerMethodArgumentResolver;
import org.springframework.web.method.support.ModelAndViewContainer;

/** The argument of type Call of a controller's method: the request, if its signature is right. */
final class CallArgument implements HandlerMethodArgumentResolver {
	private final DtmProperties properties;

	CallArgument(DtmProperties properties) {
		this.properties = properties;
	}

	@Override
	public boolean supportsParameter(MethodParameter parameter) {
		return parameter.getParameterType() == Call.class;
	}

	@Override
	public Call resolveArgument(MethodParameter parameter, ModelAndViewContainer container, NativeWebRequest web,
			WebDataBinderFactory binder) throws IOException {
		HttpServletRequest request = web.getNativeRequest(HttpServletRequest.class);
		byte[] body = request.getInputStream().readNBytes(Participant.MAX_BODY + 1);
		if (body.length > Participant.MAX_BODY)
			throw new IOException("the body has more than " + Participant.MAX_BODY + " bytes");
		// not getParameter(), which would read a body that is a form
		return Call.read(request.getQueryString(), request::getHeader, body, properties.keys(), properties.maxAge());
	}
}
