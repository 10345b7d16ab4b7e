// A bank: withdrawals and deposits are steps of sagas, and each can be undone.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"

	"dtmpg"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

func change(sign int) dtmpg.Business {
	return func(ctx context.Context, tx pgx.Tx, call *dtmpg.Call) (any, error) {
		var order struct {
			Account string
			Amount  int
		}
		if err := call.Decode(&order, "account", "amount"); err != nil {
			return nil, err
		}
		var state string
		err := tx.QueryRow(ctx, "SELECT state FROM account WHERE name = $1 FOR UPDATE", order.Account).Scan(&state)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, dtmpg.Refused("no account %s", order.Account)
		} else if err != nil {
			return nil, err
		}
		if state == "audited" {
			return nil, dtmpg.Ongoing("account %s is being audited", order.Account)
		}
		_, err = tx.Exec(ctx, "UPDATE account SET balance = balance + $1 WHERE name = $2", sign*order.Amount, order.Account)
		var raised *pgconn.PgError
		if errors.As(err, &raised) && raised.Code == "23514" { // check constraint
			return nil, dtmpg.Refused("not enough money in account %s", order.Account)
		}
		return nil, err
	}
}

func main() {
	pool, err := pgxpool.New(context.Background(), os.Getenv("BANK_DSN"))
	if err != nil {
		log.Fatal(err)
	}
	bank := dtmpg.Participant{DB: pool, Keys: []string{os.Getenv("BANK_KEY")}}
	http.Handle("/withdraw", bank.Branch(change(-1)))
	http.Handle("/withdraw/undo", bank.Branch(change(+1)))
	http.Handle("/deposit", bank.Branch(change(+1)))
	http.Handle("/deposit/undo", bank.Branch(change(-1)))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
