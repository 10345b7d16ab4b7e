-- The database of the wallets; sql/participant.sql of dtm has been run in it. Other services than payment see none of it.
CREATE ROLE payment LOGIN;
GRANT EXECUTE ON FUNCTION dtm_barrier(text, text, text, text, text), dtm_query_prepared(text) TO payment;

CREATE TABLE account (
  customer text PRIMARY KEY,
  balance int NOT NULL,
  held int NOT NULL DEFAULT 0 CHECK (held >= 0),      -- of it, for orders that are not decided yet
  CHECK (held <= balance)
);
ALTER TABLE account OWNER TO payment;
INSERT INTO account VALUES ('Alice', 500), ('Bob', 50);
