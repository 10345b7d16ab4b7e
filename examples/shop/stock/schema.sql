-- The database of the goods; sql/participant.sql of dtm has been run in it. Other services than stock see none of it.
CREATE ROLE stock LOGIN;
GRANT EXECUTE ON FUNCTION dtm_barrier(text, text, text, text, text), dtm_query_prepared(text) TO stock;

CREATE TABLE item (sku text PRIMARY KEY, available int NOT NULL CHECK (available >= 0));
CREATE TABLE reservation (
  order_id text PRIMARY KEY,
  sku text NOT NULL REFERENCES item,
  state text NOT NULL CHECK (state IN ('held', 'reserved', 'shipped'))
);
ALTER TABLE item OWNER TO stock;
ALTER TABLE reservation OWNER TO stock;
INSERT INTO item VALUES ('teapot', 10), ('lamp', 10), ('chair', 10);
