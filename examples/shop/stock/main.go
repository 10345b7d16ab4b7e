// Stock: the goods. Its database is its own; it takes part in sagas, TCC, XA and
// messages of the shop.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"dtmpg"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What all calls have: the order is the gid, except in a message about it.
type payload struct{ Order, SKU string }

func read(call *dtmpg.Call) (p payload, err error) {
	p.Order = call.GID
	decoder := json.NewDecoder(bytes.NewReader(call.Body))
	decoder.DisallowUnknownFields() // a key that is misspelt
	if err = decoder.Decode(&p); err != nil {
		return p, malformed("payload: %v", err)
	}
	return p, nil
}

// malformed is no refusal: dtm calls again, until somebody has mended the step.
func malformed(format string, arguments ...any) error {
	return &dtmpg.Reply{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, arguments...)}
}

// take makes a reservation in this state.
func take(state string) dtmpg.Business {
	return func(ctx context.Context, tx pgx.Tx, call *dtmpg.Call) (any, error) {
		p, err := read(call)
		if err != nil {
			return nil, err
		}
		if p.SKU == "" {
			return nil, malformed("\"sku\" is missing in the payload")
		}
		tag, err := tx.Exec(ctx, "UPDATE item SET available = available - 1 WHERE sku = $1", p.SKU)
		var raised *pgconn.PgError
		if errors.As(err, &raised) && raised.Code == "23514" { // check constraint
			return nil, dtmpg.Refused("%s is sold out", p.SKU)
		} else if err != nil {
			return nil, err
		}
		if tag.RowsAffected() == 0 {
			return nil, dtmpg.Refused("there is no %s", p.SKU)
		}
		_, err = tx.Exec(ctx, "INSERT INTO reservation (order_id, sku, state) VALUES ($1, $2, $3)", p.Order, p.SKU, state)
		return nil, err
	}
}

// giveBack undoes take. The barrier has seen to it that take was done, and is
// undone once.
func giveBack(ctx context.Context, tx pgx.Tx, call *dtmpg.Call) (any, error) {
	p, err := read(call)
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `WITH gone AS (DELETE FROM reservation WHERE order_id = $1 RETURNING sku)
		UPDATE item SET available = available + 1 FROM gone WHERE item.sku = gone.sku`, p.Order)
	return nil, err
}

// mark gives the reservation another state.
func mark(state string) dtmpg.Business {
	return func(ctx context.Context, tx pgx.Tx, call *dtmpg.Call) (any, error) {
		p, err := read(call)
		if err != nil {
			return nil, err
		}
		tag, err := tx.Exec(ctx, "UPDATE reservation SET state = $2 WHERE order_id = $1", p.Order, state)
		if err == nil && tag.RowsAffected() == 0 {
			return nil, malformed("there is no reservation for order %q", p.Order)
		}
		return nil, err
	}
}

func main() {
	pool, err := pgxpool.New(context.Background(), os.Getenv("DSN"))
	if err != nil {
		log.Fatal(err)
	}
	keys := []string{os.Getenv("KEY")}
	// Branch opens the transaction, asks the barrier, commits and responds.
	stock := dtmpg.Participant{DB: pool, Keys: keys}

	// saga: reserve, and if the saga is rolled back, release
	http.Handle("/reserve", stock.Branch(take("reserved")))
	http.Handle("/release", stock.Branch(giveBack))

	// TCC: try, confirm or cancel
	http.Handle("/try", stock.Branch(take("held")))
	http.Handle("/confirm", stock.Branch(mark("reserved")))
	http.Handle("/cancel", stock.Branch(giveBack))

	// XA: the same business, in a transaction that the database prepares
	http.Handle("/xa", xaHandler{pool, keys, take("reserved")})

	// message: the order is paid
	http.Handle("/ship", stock.Branch(mark("shipped")))

	// what the page shows
	http.HandleFunc("/items", func(w http.ResponseWriter, request *http.Request) {
		rows, _ := pool.Query(request.Context(), "SELECT sku, available FROM item")
		items, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
			SKU       string `json:"sku"`
			Available int    `json:"available"`
		}])
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(items)
	})
	host := os.Getenv("HOST")
	if host == "" {
		host = "127.0.0.1"
	}
	log.Fatal(http.ListenAndServe(host+":"+os.Getenv("PORT"), nil))
}
