/** Branches of global transactions as methods of Spring controllers, with Spring's transactions. */
package dtmpg.spring;
