package dtmpg;

/** The type of a global transaction. */
public enum TransType {
	SAGA, MSG, TCC, XA, WORKFLOW
}
