package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"dtmpg"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// An xaHandler is a participant of XA: the database prepares the transaction of
// the business, and ends it when the coordinator says how.
type xaHandler struct {
	pool     *pgxpool.Pool
	keys     []string
	business dtmpg.Business
}

func (h xaHandler) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	err := h.serve(request)
	var reply *dtmpg.Reply
	switch {
	case err == nil:
		fmt.Fprint(w, `{"dtm_result":"SUCCESS"}`)
	case errors.As(err, &reply):
		w.WriteHeader(reply.Status)
		json.NewEncoder(w).Encode(map[string]string{"message": reply.Message})
	default:
		log.Print(err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

func (h xaHandler) serve(request *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(request.Body, 1<<20))
	if err != nil {
		return err
	}
	call, err := dtmpg.ReadCall(request, body, h.keys, 5*time.Minute) // checks the signature
	if err != nil {
		return err
	}
	// commands for prepared transactions have no parameters
	name := "'" + strings.ReplaceAll(call.GID+"-"+call.BranchID, "'", "''") + "'"
	switch call.Op {
	case "action":
		return h.action(request.Context(), call, name)
	case "commit":
		return h.end(request.Context(), "COMMIT PREPARED "+name)
	default:
		if err := h.end(request.Context(), "ROLLBACK PREPARED "+name); err != nil {
			return err
		}
		// an action that is still under way will be too late
		_, err = barrier(request.Context(), h.pool, call)
		return err
	}
}

func (h xaHandler) action(ctx context.Context, call *dtmpg.Call, name string) error {
	tx, err := h.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.Background()) // does nothing to what is prepared
	passed, err := barrier(ctx, tx, call)
	if err != nil || !passed { // it comes too late, or again
		return err
	}
	if _, err = h.business(ctx, tx, call); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "PREPARE TRANSACTION "+name)
	return err
}

func (h xaHandler) end(ctx context.Context, command string) error {
	_, err := h.pool.Exec(ctx, command)
	var raised *pgconn.PgError
	if errors.As(err, &raised) && raised.Code == "42704" { // does not exist:
		return nil // a repeat, or there was nothing to prepare
	}
	return err
}

func barrier(ctx context.Context, db dtmpg.Querier, call *dtmpg.Call) (passed bool, err error) {
	err = db.QueryRow(ctx, "SELECT dtm_barrier('xa', $1, $2, $3)", call.GID, call.BranchID, call.Op).Scan(&passed)
	return passed, err
}
