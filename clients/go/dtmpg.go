// Package dtmpg makes handlers of net/http participants of dtm, distributed
// transactions run by PostgreSQL.
//
// A participant is a service whose handlers are the branches of global
// transactions. Participant.Branch makes a function one; Submit starts a global
// transaction in the database transaction of the caller.
package dtmpg

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A Reply is an error that ends the business with a response that is not
// success; its changes are rolled back.
type Reply struct {
	Status  int // of the response
	Message string
	cause   error
}

func (r *Reply) Error() string { return r.Message }

func (r *Reply) Unwrap() error { return r.cause }

// Refused is a permanent failure, status 409: dtm rolls the global transaction back.
func Refused(format string, arguments ...any) error {
	return reply(http.StatusConflict, format, arguments)
}

// Ongoing means not finished yet, status 425: dtm calls again, at a constant interval.
func Ongoing(format string, arguments ...any) error {
	return reply(http.StatusTooEarly, format, arguments)
}

// badRequest: the request does not have the parameters of a branch, or a key of its body.
func badRequest(format string, arguments ...any) error {
	return reply(http.StatusBadRequest, format, arguments)
}

func reply(status int, format string, arguments []any) *Reply {
	err := fmt.Errorf(format, arguments...)
	return &Reply{status, err.Error(), errors.Unwrap(err)}
}

// dtm looks for both words in the whole body, so a message must not have the other one.
var lower = strings.NewReplacer("FAILURE", "failure", "ONGOING", "ongoing")

func (r *Reply) body() []byte {
	fields := map[string]string{"message": lower.Replace(r.Message)}
	switch r.Status {
	case http.StatusConflict:
		fields["dtm_result"] = "FAILURE"
	case http.StatusTooEarly:
		fields["dtm_result"] = "ONGOING"
	}
	body, _ := json.Marshal(fields) // strings can always be encoded
	return body
}

// replyTo is the reply to an error: its own, that of a function in the database
// which raised one of dtm's SQLSTATEs, or nil.
func replyTo(err error) *Reply {
	var reply *Reply
	if errors.As(err, &reply) {
		return reply
	}
	var raised *pgconn.PgError
	if errors.As(err, &raised) {
		switch raised.Code {
		case "DT409":
			return &Reply{http.StatusConflict, raised.Message, err}
		case "DT425":
			return &Reply{http.StatusTooEarly, raised.Message, err}
		}
	}
	return nil
}
