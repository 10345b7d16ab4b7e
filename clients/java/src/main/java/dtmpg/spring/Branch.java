package dtmpg.spring;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Makes a method of a controller a branch of global transactions. One of its arguments is a {@link dtmpg.Call}.
 *
 * <p>The method runs in a transaction (use JdbcTemplate, JPA, or whatever takes part in Spring's transactions), unless
 * the barrier says that it must not run: the call is a repeat, or comes after its compensation. What it returns is the
 * response. It must not return a primitive type.
 */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@Documented
public @interface Branch {
	/**
	 * Name of a method of the same class, with the same arguments, that runs in the transaction when the barrier says
	 * that the branch must not. What it returns is the response. By default, the response is empty.
	 */
	String skipped() default "";
}
