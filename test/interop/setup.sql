-- What the interop tier needs in its database.
CREATE EXTENSION dtm;
ALTER ROLE dtm_gateway LOGIN;

-- The participants: what docs/compatibility.md grants to the barriers of SDKs.
CREATE ROLE service LOGIN;
GRANT USAGE ON SCHEMA dtm_barrier TO service;
GRANT SELECT, INSERT ON dtm_barrier.barrier TO service;
GRANT USAGE ON SEQUENCE dtm_barrier.barrier_seq TO service;

CREATE SCHEMA interop AUTHORIZATION service;
CREATE TABLE interop.account (name text PRIMARY KEY, balance int NOT NULL, trading int NOT NULL);
ALTER TABLE interop.account OWNER TO service;

-- Topics are an administrator's, unless somebody else is allowed to.
GRANT EXECUTE ON FUNCTION dtm_subscribe(text, text, text), dtm_unsubscribe(text, text), dtm_delete_topic(text) TO dtm_api;
