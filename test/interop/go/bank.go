// The participants: accounts whose balance is changed by the barriers of the
// SDK, over HTTP, JSON-RPC and gRPC.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/dtm-labs/dtm/client/workflow"
	_ "github.com/lib/pq"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
)

// order is the payload of each branch: what to do, and how to respond before that.
type order struct {
	Account string `json:"account"`
	Amount  int    `json:"amount"`
	Refuse  bool   `json:"refuse,omitempty"`  // FAILURE, after the calls below
	Ongoing int    `json:"ongoing,omitempty"` // number of first calls that return ONGOING
	Errors  int    `json:"errors,omitempty"`  // number of calls after these that fail
	Undo    int    `json:"undo,omitempty"`    // number of first calls of the second phase that fail
	Await   string `json:"await,omitempty"`   // a call to wait for, such as 02/action
	Slow    int    `json:"slow,omitempty"`    // duration of the first call, in milliseconds
	Header  string `json:"header,omitempty"`  // value of the header that the request must have
	Child   *order `json:"child,omitempty"`   // the branch below this one, in a nested TCC
	Note    string `json:"note,omitempty"`    // any text
}

const headerName = "x-interop"

type bank struct {
	db   *sql.DB
	conf dtmcli.DBConf
	http string // http://127.0.0.1:port
	grpc string // 127.0.0.1:port

	mutex sync.Mutex
	log   map[string][]string // gid: the calls
	times map[string]int      // gid/branch/op: calls so far
}

func openBank() *bank {
	port, err := strconv.ParseInt(os.Getenv("INTEROP_PGPORT"), 10, 64)
	must(err)
	b := &bank{
		conf: dtmcli.DBConf{Driver: "postgres", Host: os.Getenv("INTEROP_PGHOST"), Port: port,
			User: os.Getenv("INTEROP_PGUSER"), Password: "none", Db: os.Getenv("INTEROP_PGDATABASE"),
			Schema: "public"},
		log:   map[string][]string{},
		times: map[string]int{},
	}
	b.db, err = sql.Open("postgres", fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable",
		b.conf.Host, b.conf.Port, b.conf.User, b.conf.Db))
	must(err)
	b.db.SetMaxOpenConns(30)

	httpListener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	b.http = "http://" + httpListener.Addr().String()
	mux := http.NewServeMux()
	for path, handler := range map[string]func(*http.Request, order) error{
		"/bank": b.httpBank, "/nested": b.httpNested, "/xa": b.httpXa, "/query": b.httpQuery,
		"/workflow": b.httpWorkflow} {
		mux.HandleFunc(path, answered(handler))
	}
	mux.HandleFunc("/rpc", b.jsonRPC)
	go func() { must(http.Serve(httpListener, mux)) }()

	grpcListener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	b.grpc = grpcListener.Addr().String()
	server := grpc.NewServer()
	server.RegisterService(&grpcBank, b)
	// all workflows of a process have one protocol, the last that was chosen
	workflow.InitGrpc(grpcServer, b.grpc, server)
	if os.Args[1] == "http" {
		workflow.InitHTTP(httpServer, b.http+"/workflow")
	}
	go func() { must(server.Serve(grpcListener)) }()
	return b
}

func (b *bank) open(accounts ...string) error {
	for _, account := range accounts {
		if _, err := b.db.Exec("INSERT INTO interop.account VALUES ($1, 100, 0)", account); err != nil {
			return err
		}
	}
	return nil
}

func (b *bank) balance(account string) (balance int, trading int, err error) {
	err = b.db.QueryRow("SELECT balance, trading FROM interop.account WHERE name = $1", account).
		Scan(&balance, &trading)
	return
}

func (b *bank) preparedTransactions(gid string) (n int, err error) {
	err = b.db.QueryRow("SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE $1 || '-%'", gid).Scan(&n)
	return
}

func (b *bank) calls(gid string) string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return strings.Join(b.log[gid], " ")
}

// note records a call, and returns the number of earlier calls like it.
func (b *bank) note(gid, branch, op string) int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	call := branch + "/" + op
	b.log[gid] = append(b.log[gid], call)
	b.times[gid+"/"+call]++
	return b.times[gid+"/"+call] - 1
}

// decide returns the response that the order prescribes for its n-th call, from 0.
func (b *bank) decide(o order, n int, gid, op string) error {
	switch op {
	case "action", "try", "msg":
	default:
		if n < o.Undo {
			return errors.New("later")
		}
		return nil
	}
	if n == 0 && o.Slow > 0 {
		time.Sleep(time.Duration(o.Slow) * time.Millisecond)
	}
	for end := time.Now().Add(10 * time.Second); o.Await != ""; time.Sleep(10 * time.Millisecond) {
		if strings.Contains(b.calls(gid)+" ", o.Await+" ") {
			break
		}
		if time.Now().After(end) {
			return errors.New("the awaited call did not arrive")
		}
	}
	switch {
	case n < o.Ongoing:
		return dtmcli.ErrOngoing
	case n < o.Ongoing+o.Errors:
		return errors.New("not now")
	case o.Refuse:
		return dtmcli.ErrorMessage2Error("not enough money on "+o.Account, dtmcli.ErrFailure)
	}
	return nil
}

// change executes an op of an order in a transaction.
func change(tx interface {
	Exec(string, ...interface{}) (sql.Result, error)
}, op string, o order) error {
	balance, trading := 0, 0
	switch op {
	case "action", "msg", "business":
		balance = o.Amount
	case "compensate", "rollback":
		balance = -o.Amount
	case "try":
		trading = o.Amount
	case "confirm", "commit":
		balance, trading = o.Amount, -o.Amount
	case "cancel":
		trading = -o.Amount
	default:
		return fmt.Errorf("op %q", op)
	}
	_, err := tx.Exec("UPDATE interop.account SET balance = balance + $1, trading = trading + $2 WHERE name = $3",
		balance, trading, o.Account)
	return err
}

// run executes a branch on a barrier.
func (b *bank) run(barrier *dtmcli.BranchBarrier, o order) error {
	n := b.note(barrier.Gid, barrier.BranchID, barrier.Op)
	return barrier.CallWithDB(b.db, func(tx *sql.Tx) error {
		if err := b.decide(o, n, barrier.Gid, barrier.Op); err != nil {
			return err
		}
		return change(tx, barrier.Op, o)
	})
}

// runXa executes a branch in a local XA transaction.
func (b *bank) runXa(db *sql.DB, gid, branch, op string, o order) error {
	if err := b.decide(o, b.note(gid, branch, op), gid, op); err != nil {
		return err
	}
	return change(db, op, o)
}

func answered(handler func(*http.Request, order) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o order
		var err error

		if r.URL.Path != "/workflow" {
			var body []byte
			body, err = io.ReadAll(r.Body)
			if err == nil && len(body) > 0 {
				err = json.Unmarshal(body, &o)
			}
		}
		if err == nil && o.Header != "" && r.Header.Get(headerName) != o.Header {
			err = errors.New("the header is missing")
		}
		if err == nil {
			err = handler(r, o)
		}
		code, answer := dtmcli.Result2HttpJSON(err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		must(json.NewEncoder(w).Encode(answer))
	}
}

func (b *bank) httpBank(r *http.Request, o order) error {
	barrier, err := dtmcli.BarrierFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	return b.run(barrier, o)
}

func (b *bank) httpNested(r *http.Request, o order) error {
	q := r.URL.Query()
	if q.Get("op") == "try" {
		tcc, err := dtmcli.TccFromQuery(q)
		if err != nil {
			return err
		}
		if _, err = tcc.CallBranch(o.Child, b.http+"/bank", b.http+"/bank", b.http+"/bank"); err != nil {
			return err
		}
	}
	return b.httpBank(r, o)
}

func (b *bank) httpXa(r *http.Request, o order) error {
	q := r.URL.Query()
	if op := q.Get("op"); op != "action" {
		b.note(q.Get("gid"), q.Get("branch_id"), op)
	}
	return dtmcli.XaLocalTransaction(q, b.conf, func(db *sql.DB, xa *dtmcli.Xa) error {
		return b.runXa(db, xa.Gid, xa.BranchID, xa.Op, o)
	})
}

func (b *bank) httpQuery(r *http.Request, _ order) error {
	barrier, err := dtmcli.BarrierFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	b.note(barrier.Gid, barrier.BranchID, "query")
	return barrier.QueryPrepared(b.db)
}

func (b *bank) httpWorkflow(r *http.Request, _ order) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return workflow.ExecuteByQS(r.URL.Query(), body)
}

// jsonRPC is a branch that is called by JSON-RPC: the parameters of HTTP's query
// string are in its params.
func (b *bank) jsonRPC(w http.ResponseWriter, r *http.Request) {
	var request struct {
		ID     string `json:"id"`
		Method string `json:"method"`
		Params struct {
			order
			Gid      string `json:"gid"`
			BranchID string `json:"branch_id"`
			Op       string `json:"op"`
			Type     string `json:"trans_type"`
		} `json:"params"`
	}
	answer := map[string]interface{}{"jsonrpc": "2.0"}

	err := json.NewDecoder(r.Body).Decode(&request)
	answer["id"] = request.ID
	if err == nil && request.Method != "Transfer" {
		err = fmt.Errorf("method %q", request.Method)
	}
	p := request.Params
	var barrier *dtmcli.BranchBarrier
	if err == nil {
		barrier, err = dtmcli.BarrierFrom(p.Type, p.Gid, p.BranchID, p.Op)
	}
	if err == nil {
		err = b.run(barrier, p.order)
	}
	switch {
	case errors.Is(err, dtmcli.ErrFailure):
		answer["error"] = map[string]interface{}{"code": -32901, "message": err.Error()}
	case errors.Is(err, dtmcli.ErrOngoing):
		answer["error"] = map[string]interface{}{"code": -32902, "message": err.Error()}
	case err != nil:
		answer["error"] = map[string]interface{}{"code": -32603, "message": err.Error()}
	default:
		answer["result"] = "done"
	}
	must(json.NewEncoder(w).Encode(answer))
}

// A gRPC service without generated code. All messages are structs; their numbers
// are bytes that are not valid text.
var grpcBank = grpc.ServiceDesc{
	ServiceName: "interop.Bank",
	HandlerType: (*interface{})(nil),
	Methods: []grpc.MethodDesc{
		grpcMethod("Bank", (*bank).grpcBank), grpcMethod("Nested", (*bank).grpcNested),
		grpcMethod("Xa", (*bank).grpcXa), grpcMethod("Query", (*bank).grpcQuery),
	},
}

func grpcMethod(name string, run func(*bank, context.Context, order) error) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(server interface{}, ctx context.Context,
		decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
		message := new(structpb.Struct)
		if err := decode(message); err != nil {
			return nil, err
		}
		o := orderFrom(message)
		if md, _ := metadata.FromIncomingContext(ctx); o.Header != "" &&
			strings.Join(md.Get(headerName), ",") != o.Header {
			return nil, errors.New("the header is missing")
		}
		if err := run(server.(*bank), ctx, o); err != nil {
			return nil, dtmgrpc.DtmError2GrpcError(err)
		}
		return messageFrom(o), nil
	}}
}

func messageFrom(o order) *structpb.Struct {
	fields := map[string]interface{}{}
	text, err := json.Marshal(o)
	must(err)
	must(json.Unmarshal(text, &fields))
	message, err := structpb.NewStruct(fields)
	must(err)
	return message
}

func orderFrom(message *structpb.Struct) (o order) {
	text, err := json.Marshal(message.AsMap())
	must(err)
	must(json.Unmarshal(text, &o))
	return
}

func (b *bank) grpcBank(ctx context.Context, o order) error {
	barrier, err := dtmgrpc.BarrierFromGrpc(ctx)
	if err != nil {
		return err
	}
	return b.run(barrier, o)
}

func (b *bank) grpcNested(ctx context.Context, o order) error {
	barrier, err := dtmgrpc.BarrierFromGrpc(ctx)
	if err != nil {
		return err
	}
	if barrier.Op == "try" {
		tcc, err := dtmgrpc.TccFromGrpc(ctx)
		if err != nil {
			return err
		}
		url := b.grpc + "/interop.Bank/Bank"
		if err = tcc.CallBranch(messageFrom(*o.Child), url, url, url, new(structpb.Struct)); err != nil {
			return err
		}
	}
	return b.run(barrier, o)
}

func (b *bank) grpcXa(ctx context.Context, o order) error {
	barrier, err := dtmgrpc.BarrierFromGrpc(ctx)
	if err != nil {
		return err
	}
	if barrier.Op != "action" {
		b.note(barrier.Gid, barrier.BranchID, barrier.Op)
	}
	return dtmgrpc.XaLocalTransaction(ctx, b.conf, func(db *sql.DB, xa *dtmgrpc.XaGrpc) error {
		return b.runXa(db, xa.Gid, xa.BranchID, xa.Op, o)
	})
}

func (b *bank) grpcQuery(ctx context.Context, _ order) error {
	barrier, err := dtmgrpc.BarrierFromGrpc(ctx)
	if err != nil {
		return err
	}
	b.note(barrier.Gid, barrier.BranchID, "query")
	return barrier.QueryPrepared(b.db)
}
