// A shop: stores an order, and submits its saga in the same transaction.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"dtmpg"

	"github.com/jackc/pgx/v5"
)

type transfer struct {
	Account string `json:"account"`
	Amount  int    `json:"amount"`
}

func placeOrder(ctx context.Context, connection *pgx.Conn, order string, amount int) (gid string, err error) {
	err = pgx.BeginFunc(ctx, connection, func(tx pgx.Tx) error { // commits at the end
		_, err := tx.Exec(ctx, "INSERT INTO orders (id, amount) VALUES ($1, $2)", order, amount)
		if err != nil {
			return err
		}
		gid, err = dtmpg.Submit(ctx, tx, dtmpg.Saga, []dtmpg.Step{
			{Action: "server:bank/withdraw", Compensate: "server:bank/withdraw/undo", Payload: transfer{"alice", amount}},
			{Action: "server:bank/deposit", Compensate: "server:bank/deposit/undo", Payload: transfer{"bob", amount}},
		}, order, nil)
		return err
	})
	return gid, err
}

func main() {
	ctx := context.Background()
	connection, err := pgx.Connect(ctx, os.Getenv("SHOP_DSN"))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close(ctx)
	amount, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	gid, err := placeOrder(ctx, connection, os.Args[1], amount)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(gid)
}
