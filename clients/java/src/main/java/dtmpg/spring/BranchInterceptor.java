package dtmpg.spring;

import dtmpg.Call;
import dtmpg.Participant;
import dtmpg.Refused;
import dtmpg.Reply;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import javax.sql.DataSource;
import org.aopalliance.intercept.MethodInterceptor;
import org.aopalliance.intercept.MethodInvocation;
import org.springframework.beans.factory.BeanFactory;
import org.springframework.jdbc.core.ConnectionCallback;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.TransactionStatus;
import org.springframework.transaction.support.DefaultTransactionDefinition;
import org.springframework.util.ReflectionUtils;

/** Runs the method of a call: transaction, barrier, method, commit. */
final class BranchInterceptor implements MethodInterceptor {
	private final BeanFactory beans; // asked at the first call, because interceptors are made before all else

	BranchInterceptor(BeanFactory beans) {
		this.beans = beans;
	}

	@Override
	public Object invoke(MethodInvocation invocation) throws Throwable {
		PlatformTransactionManager transactions = beans.getBean(PlatformTransactionManager.class);
		JdbcTemplate jdbc = new JdbcTemplate(beans.getBean(DataSource.class));
		Call call = callOf(invocation);
		TransactionStatus transaction = transactions.getTransaction(new DefaultTransactionDefinition());
		Object result;
		try {
			result = run(jdbc, call, invocation);
			jdbc.execute((ConnectionCallback<Void>) connection -> {
				Participant.checkNotFailed(connection);
				return null;
			});
		} catch (Throwable error) {
			// checked exceptions, too, unlike @Transactional: any of them has the call repeated
			transactions.rollback(transaction);
			Reply reply = error instanceof Reply ? null : Reply.to(error);
			throw reply == null ? error : reply;
		}
		transactions.commit(transaction);
		if (call.isQueryBack() && Boolean.FALSE.equals(result))
			throw new Refused("the local transaction has not committed");
		return call.isQueryBack() ? null : result;
	}

	private static Object run(JdbcTemplate jdbc, Call call, MethodInvocation invocation) throws Throwable {
		if (call.isQueryBack())
			return jdbc.queryForObject("SELECT dtm_query_prepared(?)", Boolean.class, call.gid());
		Boolean passed = jdbc.queryForObject("SELECT dtm_barrier(?, ?, ?, ?)", Boolean.class,
				call.transType(), call.gid(), call.branchId(), call.op());
		return Boolean.TRUE.equals(passed) ? invocation.proceed() : skipped(invocation);
	}

	private static Object skipped(MethodInvocation invocation) throws Throwable {
		Method branch = invocation.getMethod();
		String name = branch.getAnnotation(Branch.class).skipped();
		if (name.isEmpty())
			return null;
		Method method = ReflectionUtils.findMethod(invocation.getThis().getClass(), name, branch.getParameterTypes());
		if (method == null)
			throw new IllegalStateException("no method " + name + " with the arguments of " + branch);
		ReflectionUtils.makeAccessible(method);
		try {
			return method.invoke(invocation.getThis(), invocation.getArguments());
		} catch (InvocationTargetException error) {
			throw error.getTargetException();
		}
	}

	private static Call callOf(MethodInvocation invocation) {
		return Arrays.stream(invocation.getArguments()).filter(Call.class::isInstance).map(Call.class::cast).findFirst()
				.orElseThrow(() -> new IllegalStateException(
						"a method with @Branch needs an argument of type Call: " + invocation.getMethod()));
	}
}
