// Scenarios over HTTP and JSON-RPC.
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/go-resty/resty/v2"
)

// jsonRPCServer is the URL of the server for JSON-RPC.
func jsonRPCServer() string {
	return strings.Replace(httpServer, "/api/dtmsvr", "/api/json-rpc", 1)
}

func (t *test) saga(outOrder, inOrder order) *dtmcli.Saga {
	outOrder.Account, outOrder.Amount = t.out, -30
	inOrder.Account, inOrder.Amount = t.in, 30
	bank := theBank.http + "/bank"
	saga := dtmcli.NewSaga(httpServer, t.gid).Add(bank, bank, outOrder).Add(bank, bank, inOrder)
	saga.RetryInterval = 1
	return saga
}

func (t *test) msg(inOrder order) *dtmcli.Msg {
	inOrder.Account, inOrder.Amount = t.in, 30
	msg := dtmcli.NewMsg(httpServer, t.gid).Add(theBank.http+"/bank", inOrder)
	msg.RetryInterval = 1
	return msg
}

// takeOut is the local transaction of a message.
func (t *test) takeOut(fault error) dtmcli.BarrierBusiFunc {
	return func(tx *sql.Tx) error {
		if err := change(tx, "msg", order{Account: t.out, Amount: -30}); err != nil {
			return err
		}
		return fault
	}
}

func (t *test) orders() (order, order) {
	return order{Account: t.out, Amount: -30}, order{Account: t.in, Amount: 30}
}

func callTcc(tcc *dtmcli.Tcc, path string, o order) (*resty.Response, error) {
	return tcc.CallBranch(o, theBank.http+path, theBank.http+"/bank", theBank.http+"/bank")
}

func httpScenarios() {
	sagaScenarios()
	sagaOptionScenarios()
	tccScenarios()
	msgScenarios()
	xaScenarios()
	jsonRPCScenarios()
	workflowScenarios("workflow HTTP")
}

func sagaScenarios() {
	add("saga succeeds", func(t *test) {
		t.noError("submit", t.saga(order{}, order{}).Submit())
		t.ends("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
	})
	add("saga is rejected and rolled back, last step first", func(t *test) {
		t.noError("submit", t.saga(order{}, order{Refuse: true}).Submit())
		s := t.ends("failed")
		t.reasonHas(s, "not enough money")
		t.calls("01/action 02/action 02/compensate 01/compensate")
		t.moved(0, 0)
	})
	add("saga: ONGOING and errors are retried, also of a compensation", func(t *test) {
		t.noError("submit", t.saga(order{Ongoing: 1, Undo: 1}, order{Errors: 1, Refuse: false}).
			Add(theBank.http+"/bank", "", order{Account: t.in, Refuse: true}).Submit())
		t.ends("failed")
		t.calls("01/action 01/action 02/action 02/action 03/action 02/compensate 01/compensate 01/compensate")
		t.moved(0, 0)
	})
	add("saga: steps without URL", func(t *test) {
		o, _ := t.orders()
		t.noError("submit", dtmcli.NewSaga(httpServer, t.gid).Add(theBank.http+"/bank", "", o).
			Add("", "", o).Submit())
		t.ends("succeed")
		t.calls("01/action")
		t.moved(-30, 0)
	})
	add("saga that has ended cannot be submitted again", func(t *test) {
		t.noError("submit", t.saga(order{}, order{}).Submit())
		t.ends("succeed")
		t.errorHas(t.saga(order{}, order{}).Submit(), "FAILURE")
		t.moved(-30, 30)
	})
	add("saga concurrent", func(t *test) {
		t.noError("submit", t.saga(order{Await: "02/action"}, order{}).SetConcurrent().Submit())
		t.ends("succeed")
		t.moved(-30, 30)
	})
	add("saga concurrent with orders", func(t *test) {
		bank := theBank.http + "/bank"
		saga := t.saga(order{Await: "02/action"}, order{Await: "01/action"}).
			Add(bank, bank, order{Account: t.in, Amount: 5}).SetConcurrent().AddBranchOrder(2, []int{0, 1})
		t.noError("submit", saga.Submit())
		t.ends("succeed")
		t.want(strings.HasSuffix(theBank.calls(t.gid), " 03/action"), "03 was not last: %s", theBank.calls(t.gid))
		t.moved(-30, 35)
	})
	add("saga concurrent with orders is rejected: what could not start is not compensated", func(t *test) {
		saga := t.saga(order{Refuse: true}, order{}).SetConcurrent().AddBranchOrder(1, []int{0})
		t.noError("submit", saga.Submit())
		t.ends("failed")
		t.calls("01/action 01/compensate")
		t.moved(0, 0)
	})
	addRestart("saga goes on after a restart of the server", func(t *test) {
		t.noError("submit", t.saga(order{}, order{Ongoing: 2}).Submit())
		waitFor(func() bool { return strings.Contains(theBank.calls(t.gid), "02/action") })
		t.stopped()
		t.started()
		t.ends("succeed")
		t.calls("01/action 02/action 02/action 02/action")
		t.moved(-30, 30)
	})
	addRestart("saga: a submit to a stopped server fails and can be repeated", func(t *test) {
		saga := t.saga(order{}, order{})
		t.stopped()
		t.want(saga.Submit() != nil, "submit to a stopped server has no error")
		t.started()
		t.noError("submit", saga.Submit())
		t.ends("succeed")
		t.moved(-30, 30)
	})
}

func sagaOptionScenarios() {
	add("saga: wait_result returns when it has succeeded", func(t *test) {
		saga := t.saga(order{}, order{Slow: 300})
		saga.WaitResult = true
		t.noError("submit", saga.Submit())
		t.is("succeed")
		t.moved(-30, 30)
	})
	add("saga: wait_result returns the reason of the rollback", func(t *test) {
		saga := t.saga(order{}, order{Refuse: true})
		saga.WaitResult = true
		t.errorHas(saga.Submit(), "not enough money")
		t.is("failed")
		t.moved(0, 0)
	})
	add("saga: wait_result of an ONGOING step is an error, and the saga goes on", func(t *test) {
		saga := t.saga(order{}, order{Ongoing: 1})
		saga.WaitResult = true
		t.errorHas(saga.Submit(), "FAILURE")
		t.ends("succeed")
		t.moved(-30, 30)
	})
	add("saga: branch headers, also at a retry and a compensation", func(t *test) {
		saga := t.saga(order{Header: "yes"}, order{Header: "yes", Errors: 1, Refuse: true})
		saga.BranchHeaders = map[string]string{headerName: "yes"}
		t.noError("submit", saga.Submit())
		t.ends("failed")
		t.calls("01/action 02/action 02/action 02/compensate 01/compensate")
		t.moved(0, 0)
	})
	add("saga: retry_limit", func(t *test) {
		saga := t.saga(order{}, order{Errors: 9})
		saga.RetryLimit = 1
		t.noError("submit", saga.Submit())
		t.reasonHas(t.ends("failed"), "RetryLimit: 1")
		t.calls("01/action 02/action 02/action 02/compensate 01/compensate")
		t.moved(0, 0)
	})
	add("saga: request_timeout, and a barrier that stops the second call", func(t *test) {
		saga := t.saga(order{}, order{Slow: 4500})
		saga.RequestTimeout = 3
		t.noError("submit", saga.Submit())
		t.ends("succeed")
		t.want(strings.Count(theBank.calls(t.gid), "02/action") >= 2, "no second call: %s", theBank.calls(t.gid))
		t.moved(-30, 30)
	})
	add("saga: timeout_to_fail", func(t *test) {
		saga := t.saga(order{}, order{Ongoing: 1000})
		saga.TimeoutToFail = 2
		t.noError("submit", saga.Submit())
		t.reasonHas(t.ends("failed"), "Timeout after 2 seconds")
		t.moved(0, 0)
	})
}

func tccScenarios() {
	add("tcc succeeds, last registered confirmed first", func(t *test) {
		outOrder, inOrder := t.orders()
		t.noError("tcc", dtmcli.TccGlobalTransaction(httpServer, t.gid, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
			if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
				return r, err
			}
			return callTcc(tcc, "/bank", inOrder)
		}))
		t.ends("succeed")
		t.calls("01/try 02/try 02/confirm 01/confirm")
		t.moved(-30, 30)
	})
	add("tcc is rejected and cancelled", func(t *test) {
		outOrder, inOrder := t.orders()
		inOrder.Refuse, outOrder.Undo = true, 1
		err := dtmcli.TccGlobalTransaction2(httpServer, t.gid, func(tcc *dtmcli.Tcc) { tcc.RetryInterval = 1 },
			func(tcc *dtmcli.Tcc) (*resty.Response, error) {
				if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
					return r, err
				}
				return callTcc(tcc, "/bank", inOrder)
			})
		t.failure(err)
		t.reasonHas(t.ends("failed"), "not enough money")
		t.calls("01/try 02/try 02/cancel 01/cancel 01/cancel")
		t.moved(0, 0)
	})
	add("tcc nested", func(t *test) {
		outOrder, inOrder := t.orders()
		child := order{Account: t.in, Amount: 7}
		inOrder.Child = &child
		t.noError("tcc", dtmcli.TccGlobalTransaction(httpServer, t.gid, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
			if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
				return r, err
			}
			return callTcc(tcc, "/nested", inOrder)
		}))
		t.ends("succeed")
		t.calls("01/try 0201/try 02/try 0201/confirm 02/confirm 01/confirm")
		t.moved(-30, 37)
	})
	add("tcc nested is rejected", func(t *test) {
		outOrder, inOrder := t.orders()
		inOrder.Child, inOrder.Refuse = &order{Account: t.in, Amount: 7}, true
		err := dtmcli.TccGlobalTransaction(httpServer, t.gid, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
			if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
				return r, err
			}
			return callTcc(tcc, "/nested", inOrder)
		})
		t.failure(err)
		t.ends("failed")
		t.calls("01/try 0201/try 02/try 0201/cancel 02/cancel 01/cancel")
		t.moved(0, 0)
	})
	add("tcc: time-out before the submit", func(t *test) {
		outOrder, inOrder := t.orders()
		err := dtmcli.TccGlobalTransaction2(httpServer, t.gid, func(tcc *dtmcli.Tcc) { tcc.TimeoutToFail = 5 },
			func(tcc *dtmcli.Tcc) (*resty.Response, error) {
				if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
					return r, err
				}
				t.reasonHas(t.ends("failed"), "Timeout after 5 seconds")
				return callTcc(tcc, "/bank", inOrder)
			})
		t.errorHas(err, "FAILURE")
		t.is("failed")
		t.calls("01/try 01/cancel")
		t.moved(0, 0)
	})
	add("tcc: branch headers of tries and confirms", func(t *test) {
		outOrder, _ := t.orders()
		outOrder.Header = "yes"
		t.noError("tcc", dtmcli.TccGlobalTransaction2(httpServer, t.gid, func(tcc *dtmcli.Tcc) {
			tcc.BranchHeaders = map[string]string{headerName: "yes"}
		}, func(tcc *dtmcli.Tcc) (*resty.Response, error) { return callTcc(tcc, "/bank", outOrder) }))
		t.ends("succeed")
		t.calls("01/try 01/confirm")
	})
	add("tcc: wait_result", func(t *test) {
		outOrder, inOrder := t.orders()
		t.noError("tcc", dtmcli.TccGlobalTransaction2(httpServer, t.gid, func(tcc *dtmcli.Tcc) {
			tcc.WaitResult = true
		}, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
			if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
				return r, err
			}
			return callTcc(tcc, "/bank", inOrder)
		}))
		t.is("succeed")
		t.moved(-30, 30)
	})
	add("tcc: a panic of the client aborts", func(t *test) {
		outOrder, _ := t.orders()
		func() {
			defer func() { t.want(recover() != nil, "the panic is lost") }()
			_ = dtmcli.TccGlobalTransaction(httpServer, t.gid, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
				_, err := callTcc(tcc, "/bank", outOrder)
				t.noError("try", err)
				panic("client")
			})
		}()
		t.ends("failed")
		t.calls("01/try 01/cancel")
		t.moved(0, 0)
	})
	addRestart("tcc: a restart of the server between the tries", func(t *test) {
		outOrder, inOrder := t.orders()
		t.noError("tcc", dtmcli.TccGlobalTransaction2(httpServer, t.gid, func(tcc *dtmcli.Tcc) {
			tcc.TimeoutToFail = 120
		}, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
			if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
				return r, err
			}
			t.stopped()
			t.started()
			return callTcc(tcc, "/bank", inOrder)
		}))
		t.ends("succeed")
		t.calls("01/try 02/try 02/confirm 01/confirm")
		t.moved(-30, 30)
	})
}

func msgScenarios() {
	add("msg succeeds; errors are retried", func(t *test) {
		msg := t.msg(order{Errors: 1}).Add(theBank.http+"/bank", order{Account: t.out, Amount: -30})
		t.noError("submit", msg.Submit())
		t.ends("succeed")
		t.calls("01/action 01/action 02/action")
		t.moved(-30, 30)
	})
	add("msg DoAndSubmit succeeds", func(t *test) {
		t.noError("msg", t.msg(order{}).DoAndSubmitDB(theBank.http+"/query", theBank.db, t.takeOut(nil)))
		t.ends("succeed")
		t.calls("01/action")
		t.moved(-30, 30)
	})
	add("msg DoAndSubmit: FAILURE of the local transaction aborts", func(t *test) {
		t.failure(t.msg(order{}).DoAndSubmitDB(theBank.http+"/query", theBank.db, t.takeOut(dtmcli.ErrFailure)))
		t.ends("failed")
		t.calls("")
		t.moved(0, 0)
	})
	add("msg DoAndSubmit: another error is resolved by a query-back", func(t *test) {
		t.errorHas(t.msg(order{}).DoAndSubmitDB(theBank.http+"/query", theBank.db, t.takeOut(errors.New("broken"))), "broken")
		t.ends("failed")
		t.calls("00/query")
		t.moved(0, 0)
	})
	add("msg: the client stops after its commit; the query-back submits", func(t *test) {
		msg := t.msg(order{})
		msg.TimeoutToFail = 5
		t.noError("prepare", msg.Prepare(theBank.http+"/query"))
		barrier, err := dtmcli.BarrierFrom("msg", t.gid, "00", "msg")
		t.noError("barrier", err)
		t.noError("commit", barrier.CallWithDB(theBank.db, t.takeOut(nil)))
		t.ends("succeed")
		t.calls("00/query 01/action")
		t.moved(-30, 30)
	})
	add("msg: the client stops before its commit; the query-back ends it", func(t *test) {
		msg := t.msg(order{})
		msg.TimeoutToFail = 5
		t.noError("prepare", msg.Prepare(theBank.http+"/query"))
		t.ends("failed")
		t.calls("00/query")
		barrier, err := dtmcli.BarrierFrom("msg", t.gid, "00", "msg")
		t.noError("barrier", err)
		t.want(errors.Is(barrier.CallWithDB(theBank.db, t.takeOut(nil)), dtmcli.ErrDuplicated),
			"a late commit is possible")
		t.moved(0, 0)
	})
	add("msg: delay", func(t *test) {
		start := time.Now()
		t.noError("submit", t.msg(order{}).SetDelay(2).Submit())
		t.ends("succeed")
		t.want(time.Since(start) >= 2*time.Second, "it came too early")
		t.moved(0, 30)
	})
	add("msg: delay that comes with the submit of a prepared one", func(t *test) {
		msg := t.msg(order{})
		t.noError("prepare", msg.Prepare(theBank.http+"/query"))
		start := time.Now()
		t.noError("submit", msg.SetDelay(2).Submit())
		t.ends("succeed")
		t.want(time.Since(start) >= 2*time.Second, "it came too early")
		t.calls("01/action")
	})
	add("msg: a topic with two URLs", func(t *test) {
		topic := strings.ReplaceAll("t"+t.gid, "-", "")
		for _, url := range []string{"/bank", "/bank?second=1"} {
			t.subscribe(topic, theBank.http+url)
		}
		msg := dtmcli.NewMsg(httpServer, t.gid).AddTopic(topic, order{Account: t.in, Amount: 15})
		t.noError("submit", msg.Submit())
		t.ends("succeed")
		t.calls("01-01/action 01-02/action")
		t.moved(0, 30)
	})
	add("msg: a topic without subscribers", func(t *test) {
		msg := dtmcli.NewMsg(httpServer, t.gid).AddTopic("t"+t.gid, order{Account: t.in, Amount: 15})
		t.errorHas(msg.Submit(), "topic")
		t.is("")
	})
	add("msg: wait_result and concurrent", func(t *test) {
		msg := t.msg(order{Await: "02/action"}).Add(theBank.http+"/bank",
			order{Account: t.out, Amount: -30, Await: "01/action"})
		msg.WaitResult, msg.Concurrent = true, true
		t.noError("submit", msg.Submit())
		t.is("succeed")
		t.moved(-30, 30)
	})
	addRestart("msg: a restart of the server between prepare and query", func(t *test) {
		msg := t.msg(order{})
		msg.TimeoutToFail = 5
		t.noError("prepare", msg.Prepare(theBank.http+"/query?"))
		barrier, err := dtmcli.BarrierFrom("msg", t.gid, "00", "msg")
		t.noError("barrier", err)
		t.noError("commit", barrier.CallWithDB(theBank.db, t.takeOut(nil)))
		t.stopped()
		t.started()
		t.ends("succeed")
		t.moved(-30, 30)
	})
}

// subscribe subscribes by HTTP, which the SDK has no function for.
func (t *test) subscribe(topic, target string) {
	response, err := http.Get(httpServer + "/subscribe?topic=" + topic + "&remark=interop&url=" + url.QueryEscape(target))
	if err != nil {
		t.noError("subscribe", err)
		return
	}
	defer response.Body.Close()
	t.want(response.StatusCode == http.StatusOK, "subscribe: %s", response.Status)
}

// oneHeld checks that one branch is prepared and not visible yet, noneHeld that
// none is left.
func (t *test) oneHeld() {
	n, err := theBank.preparedTransactions(t.gid)
	t.noError("pg_prepared_xacts", err)
	t.want(n == 1, "%d prepared transactions, not 1", n)
	t.moved(0, 0)
}

func (t *test) noneHeld() {
	n, err := theBank.preparedTransactions(t.gid)
	t.noError("pg_prepared_xacts", err)
	t.want(n == 0, "%d prepared transactions are left", n)
}

func xaScenarios() {
	transfer := func(t *test, refuse bool, between func()) func(xa *dtmcli.Xa) (*resty.Response, error) {
		outOrder, inOrder := t.orders()
		inOrder.Refuse = refuse
		return func(xa *dtmcli.Xa) (*resty.Response, error) {
			if r, err := xa.CallBranch(outOrder, theBank.http+"/xa"); err != nil {
				return r, err
			}
			between()
			return xa.CallBranch(inOrder, theBank.http+"/xa")
		}
	}

	add("xa on PostgreSQL succeeds", func(t *test) {
		t.noError("xa", dtmcli.XaGlobalTransaction(httpServer, t.gid, transfer(t, false, t.oneHeld)))
		t.ends("succeed")
		t.calls("01/action 02/action 01/commit 02/commit")
		t.noneHeld()
		t.moved(-30, 30)
	})
	add("xa on PostgreSQL is rejected", func(t *test) {
		t.failure(dtmcli.XaGlobalTransaction(httpServer, t.gid, transfer(t, true, t.oneHeld)))
		t.ends("failed")
		t.calls("01/action 02/action 01/rollback")
		t.noneHeld()
		t.moved(0, 0)
	})
	add("xa on PostgreSQL: time-out before the submit", func(t *test) {
		err := dtmcli.XaGlobalTransaction2(httpServer, t.gid, func(xa *dtmcli.Xa) { xa.TimeoutToFail = 5 },
			transfer(t, false, func() { t.reasonHas(t.ends("failed"), "Timeout after 5 seconds") }))
		t.want(err != nil, "no error after a time-out")
		t.is("failed")
		t.noneHeld()
		t.moved(0, 0)
	})
	addRestart("xa on PostgreSQL: a restart of the server between its branches", func(t *test) {
		t.noError("xa", dtmcli.XaGlobalTransaction2(httpServer, t.gid, func(xa *dtmcli.Xa) { xa.TimeoutToFail = 120 },
			transfer(t, false, func() { t.stopped(); t.started() })))
		t.ends("succeed")
		t.calls("01/action 02/action 01/commit 02/commit")
		t.noneHeld()
		t.moved(-30, 30)
	})
}

func jsonRPCScenarios() {
	add("JSON-RPC: saga succeeds", func(t *test) {
		saga := t.saga(order{}, order{})
		saga.Dtm, saga.Protocol = jsonRPCServer(), "json-rpc"
		t.noError("submit", saga.Submit())
		t.ends("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
		t.errorHas(saga.Submit(), "-32901")
	})
	add("JSON-RPC: tcc is rejected and cancelled", func(t *test) {
		outOrder, inOrder := t.orders()
		inOrder.Refuse = true
		t.failure(dtmcli.TccGlobalTransaction2(jsonRPCServer(), t.gid, func(tcc *dtmcli.Tcc) { tcc.Protocol = "json-rpc" },
			func(tcc *dtmcli.Tcc) (*resty.Response, error) {
				if r, err := callTcc(tcc, "/bank", outOrder); err != nil {
					return r, err
				}
				return callTcc(tcc, "/bank", inOrder)
			}))
		t.ends("failed")
		t.calls("01/try 02/try 02/cancel 01/cancel")
		t.moved(0, 0)
	})
	add("JSON-RPC: msg DoAndSubmit, one branch by HTTP and one by JSON-RPC", func(t *test) {
		msg := t.msg(order{})
		msg.Dtm, msg.Protocol = jsonRPCServer(), "json-rpc"
		msg.Add(theBank.http+"/rpc?method=Transfer", order{Account: t.in, Amount: 5, Errors: 1})
		t.noError("msg", msg.DoAndSubmitDB(theBank.http+"/query", theBank.db, t.takeOut(nil)))
		t.ends("succeed")
		t.calls("01/action 02/action 02/action")
		t.moved(-30, 35)
	})
	add("JSON-RPC: malformed requests", func(t *test) {
		for body, code := range map[string]string{
			`{"jsonrpc":"1.0","id":"1","method":"newGid"}`: "-32600",
			`{"jsonrpc":"2.0","id":"1","method":"no"}`:     "-32601",
			`{`: "-32700",
		} {
			response, err := http.Post(jsonRPCServer(), "application/json", strings.NewReader(body))
			if err != nil {
				t.noError("post", err)
				continue
			}
			var answer struct {
				Error struct {
					Code int `json:"code"`
				} `json:"error"`
			}
			t.noError("answer", json.NewDecoder(response.Body).Decode(&answer))
			t.want(fmt.Sprint(answer.Error.Code) == code, "%s: %d, not %s", body, answer.Error.Code, code)
		}
	})
}
