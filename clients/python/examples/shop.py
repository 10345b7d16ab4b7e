"""A shop: stores an order, and submits its saga in the same transaction."""
import os
import sys

import psycopg

from dtm_pg import submit

order, amount = sys.argv[1], int(sys.argv[2])
with psycopg.connect(os.environ["SHOP_DSN"]) as connection:  # commits at the end
    connection.execute("INSERT INTO orders (id, amount) VALUES (%s, %s)", (order, amount))
    gid = submit(connection, "saga", [
        {"action": "server:bank/withdraw", "compensate": "server:bank/withdraw/undo",
         "payload": {"account": "alice", "amount": amount}},
        {"action": "server:bank/deposit", "compensate": "server:bank/deposit/undo",
         "payload": {"account": "bob", "amount": amount}},
    ], gid=order)
print(gid)
