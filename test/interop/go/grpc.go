// Scenarios over gRPC.
package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgimp"
	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

func newGidByGrpc() string { return dtmgrpc.MustGenGid(grpcServer) }

func bankMethod(name string) string { return theBank.grpc + "/interop.Bank/" + name }

func (t *test) grpcSaga(outOrder, inOrder order) *dtmgrpc.SagaGrpc {
	outOrder.Account, outOrder.Amount = t.out, -30
	inOrder.Account, inOrder.Amount = t.in, 30
	bank := bankMethod("Bank")
	saga := dtmgrpc.NewSagaGrpc(grpcServer, t.gid).
		Add(bank, bank, messageFrom(outOrder)).Add(bank, bank, messageFrom(inOrder))
	saga.RetryInterval = 1
	return saga
}

func (t *test) grpcMsg(inOrder order) *dtmgrpc.MsgGrpc {
	inOrder.Account, inOrder.Amount = t.in, 30
	msg := dtmgrpc.NewMsgGrpc(grpcServer, t.gid).Add(bankMethod("Bank"), messageFrom(inOrder))
	msg.RetryInterval = 1
	return msg
}

func callTccGrpc(tcc *dtmgrpc.TccGrpc, method string, o order) error {
	return tcc.CallBranch(messageFrom(o), bankMethod(method), bankMethod("Bank"), bankMethod("Bank"),
		new(structpb.Struct))
}

func (t *test) code(err error, want codes.Code) {
	t.want(err != nil && status.Code(err) == want, "error is %v, not %s", err, want)
}

func grpcScenarios() {
	grpcSagaScenarios()
	grpcTccScenarios()
	grpcMsgScenarios()
	grpcXaScenarios()
	workflowScenarios("workflow gRPC")
}

func grpcSagaScenarios() {
	add("saga succeeds", func(t *test) {
		t.noError("submit", t.grpcSaga(order{Note: "\u0000 \u00e9 \u65e5"}, order{}).Submit())
		t.ends("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
	})
	add("saga is rejected and rolled back, last step first", func(t *test) {
		t.noError("submit", t.grpcSaga(order{Undo: 1}, order{Refuse: true}).Submit())
		t.reasonHas(t.ends("failed"), "not enough money")
		t.calls("01/action 02/action 02/compensate 01/compensate 01/compensate")
		t.moved(0, 0)
	})
	add("saga: ONGOING and errors are retried", func(t *test) {
		t.noError("submit", t.grpcSaga(order{Ongoing: 1}, order{Errors: 1}).Submit())
		t.ends("succeed")
		t.calls("01/action 01/action 02/action 02/action")
		t.moved(-30, 30)
	})
	add("saga concurrent", func(t *test) {
		t.noError("submit", t.grpcSaga(order{Await: "02/action"}, order{Await: "01/action"}).EnableConcurrent().Submit())
		t.ends("succeed")
		t.moved(-30, 30)
	})
	add("saga concurrent with orders is rejected: what could not start is not compensated", func(t *test) {
		t.noError("submit", t.grpcSaga(order{Refuse: true}, order{}).EnableConcurrent().
			AddBranchOrder(1, []int{0}).Submit())
		t.ends("failed")
		t.calls("01/action 01/compensate")
		t.moved(0, 0)
	})
	add("saga that has ended cannot be submitted again", func(t *test) {
		t.noError("submit", t.grpcSaga(order{}, order{}).Submit())
		t.ends("succeed")
		t.code(t.grpcSaga(order{}, order{}).Submit(), codes.Aborted)
	})
	add("saga: wait_result returns when it has succeeded", func(t *test) {
		saga := t.grpcSaga(order{}, order{Slow: 300})
		saga.WaitResult = true
		t.noError("submit", saga.Submit())
		t.is("succeed")
		t.moved(-30, 30)
	})
	add("saga: wait_result returns the reason of the rollback", func(t *test) {
		saga := t.grpcSaga(order{}, order{Refuse: true})
		saga.WaitResult = true
		err := saga.Submit()
		t.code(err, codes.Aborted)
		t.errorHas(err, "not enough money")
		t.is("failed")
		t.moved(0, 0)
	})
	add("saga: branch headers, also at a retry", func(t *test) {
		saga := t.grpcSaga(order{Header: "yes"}, order{Header: "yes", Errors: 1})
		saga.BranchHeaders = map[string]string{headerName: "yes"}
		t.noError("submit", saga.Submit())
		t.ends("succeed")
		t.calls("01/action 02/action 02/action")
		t.moved(-30, 30)
	})
	add("saga: timeout_to_fail", func(t *test) {
		saga := t.grpcSaga(order{}, order{Ongoing: 1000})
		saga.TimeoutToFail = 2
		t.noError("submit", saga.Submit())
		t.reasonHas(t.ends("failed"), "Timeout after 2 seconds")
		t.moved(0, 0)
	})
	add("saga: retry_limit and request_timeout", func(t *test) {
		saga := t.grpcSaga(order{}, order{Slow: 4500, Errors: 9})
		saga.RetryLimit, saga.RequestTimeout = 2, 3
		t.noError("submit", saga.Submit())
		t.reasonHas(t.ends("failed"), "RetryLimit: 2")
		t.calls("01/action 02/action 02/action 02/action 02/compensate 01/compensate")
		t.moved(0, 0)
	})
	addRestart("saga goes on after a restart of the server", func(t *test) {
		t.noError("submit", t.grpcSaga(order{}, order{Ongoing: 2}).Submit())
		waitFor(func() bool { return strings.Contains(theBank.calls(t.gid), "02/action") })
		t.stopped()
		t.started()
		t.ends("succeed")
		t.calls("01/action 02/action 02/action 02/action")
		t.moved(-30, 30)
	})
	addRestart("saga: a submit to a stopped server fails and can be repeated", func(t *test) {
		saga := t.grpcSaga(order{}, order{})
		t.stopped()
		t.code(saga.Submit(), codes.Unavailable)
		t.started()
		t.noError("submit", saga.Submit())
		t.ends("succeed")
		t.moved(-30, 30)
	})
}

func grpcTccScenarios() {
	transfer := func(t *test, outOrder, inOrder order, method string, between func()) func(tcc *dtmgrpc.TccGrpc) error {
		return func(tcc *dtmgrpc.TccGrpc) error {
			if err := callTccGrpc(tcc, "Bank", outOrder); err != nil {
				return err
			}
			between()
			return callTccGrpc(tcc, method, inOrder)
		}
	}
	nothing := func() {}

	add("tcc succeeds, last registered confirmed first", func(t *test) {
		outOrder, inOrder := t.orders()
		t.noError("tcc", dtmgrpc.TccGlobalTransaction(grpcServer, t.gid, transfer(t, outOrder, inOrder, "Bank", nothing)))
		t.ends("succeed")
		t.calls("01/try 02/try 02/confirm 01/confirm")
		t.moved(-30, 30)
	})
	add("tcc is rejected and cancelled", func(t *test) {
		outOrder, inOrder := t.orders()
		inOrder.Refuse, outOrder.Undo = true, 1
		err := dtmgrpc.TccGlobalTransaction2(grpcServer, t.gid, func(tcc *dtmgrpc.TccGrpc) { tcc.RetryInterval = 1 },
			transfer(t, outOrder, inOrder, "Bank", nothing))
		t.code(err, codes.Aborted)
		t.reasonHas(t.ends("failed"), "not enough money")
		t.calls("01/try 02/try 02/cancel 01/cancel 01/cancel")
		t.moved(0, 0)
	})
	add("tcc nested", func(t *test) {
		outOrder, inOrder := t.orders()
		inOrder.Child = &order{Account: t.in, Amount: 7}
		t.noError("tcc", dtmgrpc.TccGlobalTransaction(grpcServer, t.gid, transfer(t, outOrder, inOrder, "Nested", nothing)))
		t.ends("succeed")
		t.calls("01/try 0201/try 02/try 0201/confirm 02/confirm 01/confirm")
		t.moved(-30, 37)
	})
	add("tcc nested is rejected", func(t *test) {
		outOrder, inOrder := t.orders()
		inOrder.Child, inOrder.Refuse = &order{Account: t.in, Amount: 7}, true
		t.code(dtmgrpc.TccGlobalTransaction(grpcServer, t.gid, transfer(t, outOrder, inOrder, "Nested", nothing)), codes.Aborted)
		t.ends("failed")
		t.calls("01/try 0201/try 02/try 0201/cancel 02/cancel 01/cancel")
		t.moved(0, 0)
	})
	add("tcc: time-out before the submit", func(t *test) {
		outOrder, inOrder := t.orders()
		err := dtmgrpc.TccGlobalTransaction2(grpcServer, t.gid, func(tcc *dtmgrpc.TccGrpc) { tcc.TimeoutToFail = 5 },
			transfer(t, outOrder, inOrder, "Bank", func() { t.reasonHas(t.ends("failed"), "Timeout after 5 seconds") }))
		t.code(err, codes.Aborted)
		t.is("failed")
		t.calls("01/try 01/cancel")
		t.moved(0, 0)
	})
	add("tcc: wait_result and branch headers", func(t *test) {
		outOrder, inOrder := t.orders()
		outOrder.Header, inOrder.Header = "yes", "yes"
		t.noError("tcc", dtmgrpc.TccGlobalTransaction2(grpcServer, t.gid, func(tcc *dtmgrpc.TccGrpc) {
			tcc.WaitResult, tcc.BranchHeaders = true, map[string]string{headerName: "yes"}
		}, transfer(t, outOrder, inOrder, "Bank", nothing)))
		t.is("succeed")
		t.moved(-30, 30)
	})
	addRestart("tcc: a restart of the server between the tries", func(t *test) {
		outOrder, inOrder := t.orders()
		t.noError("tcc", dtmgrpc.TccGlobalTransaction2(grpcServer, t.gid, func(tcc *dtmgrpc.TccGrpc) { tcc.TimeoutToFail = 120 },
			transfer(t, outOrder, inOrder, "Bank", func() { t.stopped(); t.started() })))
		t.ends("succeed")
		t.calls("01/try 02/try 02/confirm 01/confirm")
		t.moved(-30, 30)
	})
}

func grpcMsgScenarios() {
	add("msg succeeds; errors are retried", func(t *test) {
		outOrder, _ := t.orders()
		t.noError("submit", t.grpcMsg(order{Errors: 1}).Add(bankMethod("Bank"), messageFrom(outOrder)).Submit())
		t.ends("succeed")
		t.calls("01/action 01/action 02/action")
		t.moved(-30, 30)
	})
	add("msg DoAndSubmit succeeds", func(t *test) {
		t.noError("msg", t.grpcMsg(order{}).DoAndSubmitDB(bankMethod("Query"), theBank.db, t.takeOut(nil)))
		t.ends("succeed")
		t.calls("01/action")
		t.moved(-30, 30)
	})
	add("msg DoAndSubmit: FAILURE of the local transaction aborts", func(t *test) {
		t.failure(t.grpcMsg(order{}).DoAndSubmitDB(bankMethod("Query"), theBank.db, t.takeOut(dtmcli.ErrFailure)))
		t.ends("failed")
		t.calls("")
		t.moved(0, 0)
	})
	add("msg: the client stops after its commit; the query-back submits", func(t *test) {
		msg := t.grpcMsg(order{})
		msg.TimeoutToFail = 5
		t.noError("prepare", msg.Prepare(bankMethod("Query")))
		barrier, err := dtmcli.BarrierFrom("msg", t.gid, "00", "msg")
		t.noError("barrier", err)
		t.noError("commit", barrier.CallWithDB(theBank.db, t.takeOut(nil)))
		t.ends("succeed")
		t.calls("00/query 01/action")
		t.moved(-30, 30)
	})
	add("msg: the client stops before its commit; the query-back ends it", func(t *test) {
		msg := t.grpcMsg(order{})
		msg.TimeoutToFail = 5
		t.noError("prepare", msg.Prepare(bankMethod("Query")))
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
		t.noError("submit", t.grpcMsg(order{}).SetDelay(2).Submit())
		t.ends("succeed")
		t.want(time.Since(start) >= 2*time.Second, "it came too early")
		t.moved(0, 30)
	})
	add("msg: a topic that is subscribed over gRPC", func(t *test) {
		client := dtmgimp.MustGetDtmClient(grpcServer)
		topic := func(url string) *dtmgpb.DtmTopicRequest {
			return &dtmgpb.DtmTopicRequest{Topic: "t" + t.gid, URL: url, Remark: "interop"}
		}
		other := strings.Replace(bankMethod("Bank"), "127.0.0.1", "127.0.0.2", 1)
		_, err := client.Subscribe(context.Background(), topic(bankMethod("Bank")))
		t.noError("subscribe", err)
		_, err = client.Subscribe(context.Background(), topic(bankMethod("Bank")))
		t.code(err, codes.Unknown)
		_, err = client.Subscribe(context.Background(), topic(other))
		t.noError("subscribe", err)
		_, err = client.Unsubscribe(context.Background(), topic(other))
		t.noError("unsubscribe", err)
		t.noError("submit", dtmgrpc.NewMsgGrpc(grpcServer, t.gid).
			AddTopic("t"+t.gid, messageFrom(order{Account: t.in, Amount: 30})).Submit())
		t.ends("succeed")
		t.calls("01/action")
		t.moved(0, 30)
		_, err = client.DeleteTopic(context.Background(), topic(""))
		t.noError("delete topic", err)
	})
	addRestart("msg: a restart of the server between prepare and query", func(t *test) {
		msg := t.grpcMsg(order{})
		msg.TimeoutToFail = 5
		t.noError("prepare", msg.Prepare(bankMethod("Query")))
		barrier, err := dtmcli.BarrierFrom("msg", t.gid, "00", "msg")
		t.noError("barrier", err)
		t.noError("commit", barrier.CallWithDB(theBank.db, t.takeOut(nil)))
		t.stopped()
		t.started()
		t.ends("succeed")
		t.moved(-30, 30)
	})
}

func grpcXaScenarios() {
	transfer := func(t *test, refuse bool, between func()) func(xa *dtmgrpc.XaGrpc) error {
		outOrder, inOrder := t.orders()
		inOrder.Refuse = refuse
		return func(xa *dtmgrpc.XaGrpc) error {
			if err := xa.CallBranch(messageFrom(outOrder), bankMethod("Xa"), new(structpb.Struct)); err != nil {
				return err
			}
			between()
			return xa.CallBranch(messageFrom(inOrder), bankMethod("Xa"), new(structpb.Struct))
		}
	}

	add("xa on PostgreSQL succeeds", func(t *test) {
		t.noError("xa", dtmgrpc.XaGlobalTransaction(grpcServer, t.gid, transfer(t, false, t.oneHeld)))
		t.ends("succeed")
		t.calls("01/action 02/action 01/commit 02/commit")
		t.noneHeld()
		t.moved(-30, 30)
	})
	add("xa on PostgreSQL is rejected", func(t *test) {
		t.code(dtmgrpc.XaGlobalTransaction(grpcServer, t.gid, transfer(t, true, t.oneHeld)), codes.Aborted)
		t.ends("failed")
		t.calls("01/action 02/action 01/rollback")
		t.noneHeld()
		t.moved(0, 0)
	})
	add("xa on PostgreSQL: time-out before the submit", func(t *test) {
		err := dtmgrpc.XaGlobalTransaction2(grpcServer, t.gid, func(xa *dtmgrpc.XaGrpc) { xa.TimeoutToFail = 5 },
			transfer(t, false, func() { t.reasonHas(t.ends("failed"), "Timeout after 5 seconds") }))
		t.want(err != nil, "no error after a time-out")
		t.is("failed")
		t.noneHeld()
		t.moved(0, 0)
	})
	addRestart("xa on PostgreSQL: a restart of the server between its branches", func(t *test) {
		t.noError("xa", dtmgrpc.XaGlobalTransaction2(grpcServer, t.gid, func(xa *dtmgrpc.XaGrpc) { xa.TimeoutToFail = 120 },
			transfer(t, false, func() { t.stopped(); t.started() })))
		t.ends("succeed")
		t.calls("01/action 02/action 01/commit 02/commit")
		t.noneHeld()
		t.moved(-30, 30)
	})
}
