package dtmpg.spring;

import java.util.List;
import javax.sql.DataSource;
import org.springframework.aop.Advisor;
import org.springframework.aop.support.DefaultPointcutAdvisor;
import org.springframework.aop.support.annotation.AnnotationMatchingPointcut;
import org.springframework.beans.factory.BeanFactory;
import org.springframework.beans.factory.config.BeanDefinition;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Role;
import org.springframework.web.method.support.HandlerMethodArgumentResolver;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** What an application of Spring Boot with Spring MVC and JDBC has of dtm. */
@AutoConfiguration
@EnableConfigurationProperties(DtmProperties.class)
public class DtmAutoConfiguration {
	// of the infrastructure, so that what @Transactional is made by makes this, too
	@Bean
	@Role(BeanDefinition.ROLE_INFRASTRUCTURE)
	static Advisor dtmBranches(BeanFactory beans) {
		return new DefaultPointcutAdvisor(AnnotationMatchingPointcut.forMethodAnnotation(Branch.class), new BranchInterceptor(beans));
	}

	@Bean
	ReplyAdvice dtmReplies() {
		return new ReplyAdvice();
	}

	@Bean
	WebMvcConfigurer dtmCalls(DtmProperties properties) {
		return new WebMvcConfigurer() {
			@Override
			public void addArgumentResolvers(List<HandlerMethodArgumentResolver> resolvers) {
				resolvers.add(new CallArgument(properties));
			}
		};
	}

	@Bean
	@ConditionalOnMissingBean
	DtmTemplate dtmTemplate(DataSource dataSource) {
		return new DtmTemplate(dataSource);
	}
}
