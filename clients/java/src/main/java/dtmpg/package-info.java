/**
 * Participants of dtm, distributed transactions run by PostgreSQL.
 *
 * <p>A participant is a service whose handlers are the branches of global transactions. {@link dtmpg.Participant}
 * makes a function one, with JDBC and any HTTP server; {@link dtmpg.spring.Branch} makes a method of a Spring
 * controller one. {@link dtmpg.Dtm#submit} starts a global transaction in the database transaction of the caller.
 */
package dtmpg;
