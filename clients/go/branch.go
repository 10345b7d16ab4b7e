package dtmpg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

// Business makes the changes of a branch in tx, which it neither commits nor rolls
// back. What it returns is the response, as JSON.
type Business func(ctx context.Context, tx pgx.Tx, call *Call) (any, error)

// Beginner opens transactions: a *pgxpool.Pool, for example.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// A Participant makes functions branches of global transactions.
type Participant struct {
	// DB has dtm_barrier: the extension, or sql/participant.sql.
	DB Beginner
	// Keys of the server's user mapping (hmac_key), several while they change.
	// Without any, signatures are not checked. Branch panics if one is empty.
	Keys []string
	// MaxAge is the time for which a signature is good. Default: 5 minutes.
	MaxAge time.Duration
	// ErrorLog gets the errors that the response does not show. Default: that of package log.
	ErrorLog *log.Logger
}

const (
	defaultMaxAge = 5 * time.Minute
	maxBody       = 16 << 20        // bytes
	rollbackTime  = 5 * time.Second // after which a connection that does not answer is given up
)

// Branch makes business a handler. It runs in a transaction, unless the barrier
// says that it must not run: the call is a repeat, or comes after its compensation.
func (p Participant) Branch(business Business) http.Handler {
	return p.BranchOrElse(business, nil)
}

// BranchOrElse is Branch with a function that runs in the transaction when the
// barrier says that business must not. What it returns is the response.
func (p Participant) BranchOrElse(business, skipped Business) http.Handler {
	for _, key := range p.Keys {
		if key == "" {
			panic("dtmpg: a key in Participant.Keys is empty: anybody could sign with it")
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		status, body := http.StatusOK, []byte(nil)
		call, err := p.read(w, request)
		if err == nil {
			body, err = p.run(request.Context(), call, business, skipped)
		}
		if err != nil {
			reply := replyTo(err)
			if reply == nil {
				p.logf("%s %s: %v", request.Method, request.URL.Path, err)
				reply = &Reply{Status: http.StatusInternalServerError, Message: "internal error"}
			}
			status, body = reply.Status, reply.body()
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write(body) // a caller that has hung up calls again
	})
}

func (p Participant) read(w http.ResponseWriter, request *http.Request) (*Call, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if err != nil {
		return nil, err
	}
	maxAge := p.MaxAge
	if maxAge == 0 {
		maxAge = defaultMaxAge
	}
	return ReadCall(request, body, p.Keys, maxAge)
}

// run returns the body of the response. An error rolls back.
func (p Participant) run(ctx context.Context, call *Call, business, skipped Business) ([]byte, error) {
	tx, err := p.DB.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer rollBack(tx) // does nothing after the commit
	if call.isQueryBack() {
		return queryBack(ctx, tx, call)
	}
	var passed bool
	err = tx.QueryRow(ctx, "SELECT dtm_barrier($1, $2, $3, $4)",
		call.TransType, call.GID, call.BranchID, call.Op).Scan(&passed)
	if err != nil {
		return nil, err
	}
	if !passed {
		business = skipped
	}
	var result any
	if business != nil {
		if result, err = business(ctx, uncommittable{tx}, call); err != nil {
			return nil, err
		}
	}
	body, err := encode(result) // before the commit: an error of it must roll back
	if err != nil {
		return nil, err
	}
	return body, commit(ctx, tx)
}

func queryBack(ctx context.Context, tx pgx.Tx, call *Call) ([]byte, error) {
	var committed bool
	if err := tx.QueryRow(ctx, "SELECT dtm_query_prepared($1)", call.GID).Scan(&committed); err != nil {
		return nil, err
	}
	if err := commit(ctx, tx); err != nil {
		return nil, err
	}
	if !committed {
		return nil, Refused("the local transaction has not committed")
	}
	return encode(nil)
}

// PostgreSQL turns the COMMIT of a failed transaction into a ROLLBACK.
func commit(ctx context.Context, tx pgx.Tx) error {
	err := tx.Commit(ctx)
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return fmt.Errorf("the business ignored an error of the database: its changes are rolled back; "+
			"run such a statement in a nested transaction (tx.Begin): %w", err)
	}
	return err
}

func rollBack(tx pgx.Tx) {
	// the request's context may have ended
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// An uncommittable transaction is ended by Branch only. Begin nests one in it.
type uncommittable struct{ pgx.Tx }

var errCommit = errors.New("the transaction of a branch is ended by its Participant")

func (uncommittable) Commit(context.Context) error   { return errCommit }
func (uncommittable) Rollback(context.Context) error { return errCommit }

// encode is the body of a success: what the business returned, as dtm's option
// "results" keeps it.
func encode(result any) ([]byte, error) {
	if result == nil {
		return []byte(`{"dtm_result":"SUCCESS"}`), nil
	}
	return toJSON(result)
}

// toJSON leaves <, > and & alone, as json.Marshal does not.
func toJSON(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimRight(buffer.Bytes(), "\n"), err
}

func (p Participant) logf(format string, arguments ...any) {
	if p.ErrorLog != nil {
		p.ErrorLog.Printf(format, arguments...)
	} else {
		log.Printf(format, arguments...)
	}
}
