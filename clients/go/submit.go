package dtmpg

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A TransType is the type of a global transaction.
type TransType string

// Types of global transactions.
const (
	Saga     TransType = "saga"
	Msg      TransType = "msg"
	TCC      TransType = "tcc"
	XA       TransType = "xa"
	Workflow TransType = "workflow"
)

// A Step has the URLs of its action and compensation, the body for both, and
// options: the SQL reference has them in "Options of steps". Zero values are left
// out. Times are in seconds.
type Step struct {
	Action                string            `json:"action"`
	Compensate            string            `json:"compensate,omitempty"`
	Payload               any               `json:"payload,omitempty"`
	PayloadBase64         []byte            `json:"payload_base64,omitempty"`
	Name                  string            `json:"name,omitempty"`
	Method                string            `json:"method,omitempty"`
	CompensateMethod      string            `json:"compensate_method,omitempty"`
	Headers               map[string]string `json:"headers,omitempty"`
	ContentType           string            `json:"content_type,omitempty"`
	QueryParameters       *bool             `json:"query_parameters,omitempty"`
	Replies               string            `json:"replies,omitempty"`
	Success               string            `json:"success,omitempty"`
	Final                 string            `json:"final,omitempty"`
	Ongoing               string            `json:"ongoing,omitempty"`
	CompensateOK          string            `json:"compensate_ok,omitempty"`
	RetryAfter            *bool             `json:"retry_after,omitempty"`
	RequestTimeout        float64           `json:"request_timeout,omitempty"`
	CompleteWithin        float64           `json:"complete_within,omitempty"`
	Poll                  bool              `json:"poll,omitempty"`
	RetryInterval         float64           `json:"retry_interval,omitempty"`
	MaxAttempts           int               `json:"max_attempts,omitempty"`
	CompensateMaxAttempts int               `json:"compensate_max_attempts,omitempty"`
	OnExhausted           string            `json:"on_exhausted,omitempty"`
}

// Options of a global transaction: the SQL reference has them in "Submitting".
// Zero values are left out. Times are in seconds.
type Options struct {
	TimeoutToFail  float64           `json:"timeout_to_fail,omitempty"`
	RetryInterval  float64           `json:"retry_interval,omitempty"`
	RequestTimeout float64           `json:"request_timeout,omitempty"`
	RetryLimit     int               `json:"retry_limit,omitempty"`
	BranchHeaders  map[string]string `json:"branch_headers,omitempty"`
	Concurrent     bool              `json:"concurrent,omitempty"`
	Orders         map[string][]int  `json:"orders,omitempty"`
	Delay          float64           `json:"delay,omitempty"`
	QueryPrepared  string            `json:"query_prepared,omitempty"`
	Protocol       string            `json:"protocol,omitempty"`
	Notify         bool              `json:"notify,omitempty"`
	Traceparent    string            `json:"traceparent,omitempty"`
	OnFinish       string            `json:"on_finish,omitempty"`
	Lane           string            `json:"lane,omitempty"`
	LaneOnPark     string            `json:"lane_on_park,omitempty"`
	FairnessKey    string            `json:"fairness_key,omitempty"`
	Results        bool              `json:"results,omitempty"`
	Name           string            `json:"name,omitempty"`
	Data           any               `json:"data,omitempty"`
	Status         string            `json:"status,omitempty"`
	Result         any               `json:"result,omitempty"`
	RollbackReason string            `json:"rollback_reason,omitempty"`
}

// A Querier is a pgx.Tx, for example.
type Querier interface {
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

// Submit submits a global transaction in the transaction of the caller, and
// returns its gid. It starts when the caller commits. If the caller rolls back,
// nothing is stored and nothing is called. If gid is empty, dtm makes one.
func Submit(ctx context.Context, tx Querier, transType TransType, steps []Step, gid string, options *Options) (string, error) {
	if steps == nil {
		steps = []Step{} // null is no array
	}
	stepsJSON, err := toJSON(steps)
	if err != nil {
		return "", err
	}
	if options == nil {
		options = &Options{}
	}
	optionsJSON, err := toJSON(options)
	if err != nil {
		return "", err
	}
	// json, not jsonb: payloads are sent to the letter
	err = tx.QueryRow(ctx, "SELECT dtm_submit($1, $2::json, nullif($3, ''), $4::jsonb)",
		string(transType), string(stepsJSON), gid, string(optionsJSON)).Scan(&gid)
	return gid, err
}
