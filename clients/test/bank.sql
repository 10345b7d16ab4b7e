CREATE TABLE account (name text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0), state text NOT NULL DEFAULT 'open');
INSERT INTO account VALUES ('alice', 100), ('bob', 100);
