CREATE EXTENSION dtm;
CREATE TABLE orders (id text PRIMARY KEY, amount int NOT NULL);
