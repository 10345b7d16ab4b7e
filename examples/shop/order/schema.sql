-- The database of the orders. The coordinator runs here, so an order and its global transaction are one commit.
CREATE EXTENSION IF NOT EXISTS dtm;
CREATE ROLE shop LOGIN IN ROLE dtm_user;

-- where the services are, and with which key requests to them are signed
CREATE SERVER stock FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url :'stock');
CREATE SERVER payment FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url :'payment');
CREATE USER MAPPING FOR shop SERVER stock OPTIONS (hmac_key :'key');
CREATE USER MAPPING FOR shop SERVER payment OPTIONS (hmac_key :'key');

-- a company that knows nothing of dtm: options say what it wants and what it means
CREATE SERVER cards FOREIGN DATA WRAPPER dtm_http OPTIONS (
  base_url :'cards',
  content_type 'application/x-www-form-urlencoded',
  query_parameters 'off',         -- it refuses parameters that it does not know
  replies 'status',               -- words in its bodies mean nothing to us
  final '400,402,404,422',        -- no, for good
  compensate_ok '404',            -- nothing to refund
  retry_after 'on');              -- after a 429, wait as long as it says
CREATE USER MAPPING FOR shop SERVER cards OPTIONS (bearer_token 'test-key');

GRANT USAGE ON FOREIGN SERVER stock, payment, cards TO shop;

CREATE SCHEMA shop AUTHORIZATION shop;
SET ROLE shop;
CREATE TABLE shop.product (sku text PRIMARY KEY, name text NOT NULL, price int NOT NULL);
INSERT INTO shop.product VALUES ('teapot', 'Teapot', 40), ('lamp', 'Lamp', 70), ('chair', 'Armchair', 300);

CREATE TABLE shop.orders (
  id text PRIMARY KEY,            -- and the gid of its global transaction
  sku text NOT NULL REFERENCES shop.product,
  amount int NOT NULL,
  customer text NOT NULL,
  method text NOT NULL,
  state text NOT NULL DEFAULT 'placed' CHECK (state IN ('placed', 'paid', 'shipped', 'rejected')),
  reason text,
  created timestamptz NOT NULL DEFAULT now()
);

-- How an order learns what has become of it: option on_finish of each global transaction. The function and the record
-- that it has run are one commit, so it takes effect exactly once.
CREATE FUNCTION shop.order_finished(gid text, branch_id text, op text, payload jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = shop, public, pg_temp AS $$
DECLARE
  order_id text := payload ->> 'gid';
BEGIN
  IF payload ->> 'status' = 'succeed' THEN
    UPDATE orders SET state = 'paid' WHERE id = order_id;
    -- A message: it cannot be refused, and it exists only if the order is paid. An outbox, without the box.
    PERFORM dtm_submit('msg', jsonb_build_array(
      jsonb_build_object('action', 'server:stock/ship', 'payload', jsonb_build_object('order', order_id)),
      jsonb_build_object('action', 'sql:shop.order_shipped', 'payload', jsonb_build_object('order', order_id))),
      'ship-' || order_id);
  ELSE
    UPDATE orders SET state = 'rejected', reason = (
      SELECT coalesce(failure ->> 'message', failure #>> '{error,message}', rollback_reason)
        FROM dtm.transactions t WHERE t.gid = order_id)
     WHERE id = order_id;
  END IF;
END $$;

CREATE FUNCTION shop.order_shipped(gid text, branch_id text, op text, payload jsonb) RETURNS void
LANGUAGE sql SET search_path = shop, pg_temp AS $$
  UPDATE orders SET state = 'shipped' WHERE id = payload ->> 'order'
$$;
