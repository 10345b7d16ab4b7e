// Scenarios of workflows, for both protocols.
package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"sync"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
)

// plan is the data of a workflow.
type plan struct {
	Gid       string
	Out, In   order
	Interrupt int  // runs that end between the steps
	Grpc      bool // the second step
}

// bytes that are not valid text
var result = []byte{0xAC, 0x02, 0x00, 0xFF, 'r'}

var runs struct {
	sync.Mutex
	of map[string]int
}

// countRun counts the runs of a workflow, from 0.
func countRun(gid string) int {
	runs.Lock()
	defer runs.Unlock()
	if runs.of == nil {
		runs.of = map[string]int{}
	}
	runs.of[gid]++
	return runs.of[gid] - 1
}

// remote calls a participant as a step of a workflow.
func remote(wf *workflow.Workflow, p plan, o order) error {
	if !p.Grpc {
		_, err := wf.NewRequest().SetBody(o).Post(theBank.http + "/bank")
		return err
	}
	reply := new(structpb.Struct)
	if err := workflowConn().Invoke(wf.Context, "/interop.Bank/Bank", messageFrom(o), reply); err != nil {
		return err
	}
	// also if the reply comes from the progress that the server has stored
	if orderFrom(reply) != o {
		return errors.New("the reply of a step is not what it was")
	}
	return nil
}

var workflowConnection struct {
	sync.Once
	*grpc.ClientConn
}

func workflowConn() *grpc.ClientConn {
	workflowConnection.Do(func() {
		var err error
		workflowConnection.ClientConn, err = grpc.Dial(theBank.grpc,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(workflow.Interceptor))
		must(err)
	})
	return workflowConnection.ClientConn
}

// registered registers a function as two workflows: one that only its client runs,
// and one with another name that the server resumes soon.
func registered(name string, f func(wf *workflow.Workflow, p plan, run int) ([]byte, error)) {
	for suffix, interval := range map[string]int64{"": 60, resumed: 3} {
		interval := interval
		must(workflow.Register2(name+suffix, func(wf *workflow.Workflow, data []byte) ([]byte, error) {
			var p plan
			if err := json.Unmarshal(data, &p); err != nil {
				return nil, err
			}
			return f(wf, p, countRun(p.Gid))
		}, func(wf *workflow.Workflow) { wf.RetryInterval = interval }))
	}
}

const resumed = " resumed"

// interruption is the error that ends a run: any error for the client, and ONGOING
// for the server, which then keeps its retry interval.
func interruption(run int) error {
	if run == 0 {
		return errors.New("interrupted")
	}
	return dtmcli.ErrOngoing
}

func registerWorkflows() {
	// a saga: a local step, and one by the network
	registered("saga", func(wf *workflow.Workflow, p plan, run int) ([]byte, error) {
		_, err := wf.NewBranch().OnRollback(func(barrier *dtmcli.BranchBarrier) error {
			return theBank.run(barrier, p.Out)
		}).Do(func(barrier *dtmcli.BranchBarrier) ([]byte, error) {
			return []byte("out"), theBank.run(barrier, p.Out)
		})
		if err != nil {
			return nil, err
		}
		if run < p.Interrupt {
			return nil, interruption(run)
		}
		wf.NewBranch().OnRollback(func(*dtmcli.BranchBarrier) error { return remote(wf, p, p.In) })
		if err = remote(wf, p, p.In); err != nil {
			return nil, err
		}
		if run < p.Interrupt+1 && p.Interrupt > 0 {
			return nil, dtmcli.ErrOngoing
		}
		return result, nil
	})
	// a TCC
	registered("tcc", func(wf *workflow.Workflow, p plan, run int) ([]byte, error) {
		for _, o := range []order{p.Out, p.In} {
			o := o
			_, err := wf.NewBranch().OnFinish(func(barrier *dtmcli.BranchBarrier, isRollback bool) error {
				barrier.Op = "confirm"
				if isRollback {
					barrier.Op = "cancel"
				}
				return theBank.run(barrier, o)
			}).Do(func(barrier *dtmcli.BranchBarrier) ([]byte, error) {
				barrier.Op = "try"
				return nil, theBank.run(barrier, o)
			})
			if err != nil {
				return nil, err
			}
		}
		return result, nil
	})
	// XA
	registered("xa", func(wf *workflow.Workflow, p plan, run int) ([]byte, error) {
		for _, o := range []order{p.Out, p.In} {
			o := o
			_, err := wf.NewBranch().DoXa(theBank.conf, func(db *sql.DB) ([]byte, error) {
				return nil, theBank.runXa(db, wf.Gid, wf.BranchID, "action", o)
			})
			if err != nil {
				return nil, err
			}
			if run < p.Interrupt {
				return nil, interruption(run)
			}
		}
		return result, nil
	})
}

func (t *test) start(name string, p plan) ([]byte, error) {
	p.Gid = t.gid
	p.Out.Account, p.Out.Amount = t.out, -30
	p.In.Account, p.In.Amount = t.in, 30
	data, err := json.Marshal(p)
	must(err)
	if p.Interrupt > 0 {
		name += resumed
	}
	return workflow.Execute2(name, t.gid, data)
}

func workflowScenarios(kind string) {
	p := plan{Grpc: kind == "workflow gRPC"}

	registerWorkflows()
	add(kind+" succeeds; executed again, it returns its result", func(t *test) {
		for i := 0; i < 2; i++ {
			data, err := t.start("saga", p)
			t.noError("execute", err)
			t.want(bytes.Equal(data, result), "result is %x", data)
		}
		t.is("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
	})
	add(kind+" is rejected and rolled back; executed again, it returns the failure", func(t *test) {
		p := p
		p.In.Refuse = true
		for i := 0; i < 2; i++ {
			_, err := t.start("saga", p)
			t.failure(err)
			t.errorHas(err, "not enough money")
		}
		t.is("failed")
		t.calls("01/action 02/action 01/rollback")
		t.moved(0, 0)
	})
	add(kind+" is interrupted, and resumed by the server", func(t *test) {
		p := p
		p.Interrupt = 2
		_, err := t.start("saga", p)
		t.errorHas(err, "interrupted")
		t.is("prepared")
		t.ends("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
		data, err := t.start("saga", p)
		t.noError("execute", err)
		t.want(bytes.Equal(data, result), "result is %x", data)
	})
	add(kind+" is resumed, and rolled back", func(t *test) {
		p := p
		p.Interrupt, p.In.Refuse, p.Out.Undo = 1, true, 1
		_, err := t.start("saga", p)
		t.errorHas(err, "interrupted")
		t.reasonHas(t.ends("failed"), "not enough money")
		t.calls("01/action 02/action 01/rollback 01/rollback")
		t.moved(0, 0)
	})
	add(kind+": tcc succeeds", func(t *test) {
		_, err := t.start("tcc", p)
		t.noError("execute", err)
		t.is("succeed")
		t.calls("01/try 02/try 02/confirm 01/confirm")
		t.moved(-30, 30)
	})
	add(kind+": tcc is rejected", func(t *test) {
		p := p
		p.In.Refuse = true
		_, err := t.start("tcc", p)
		t.failure(err)
		t.is("failed")
		t.calls("01/try 02/try 01/cancel")
		t.moved(0, 0)
	})
	add(kind+": xa on PostgreSQL is interrupted, resumed, and succeeds", func(t *test) {
		p := p
		p.Interrupt = 1
		_, err := t.start("xa", p)
		t.errorHas(err, "interrupted")
		t.ends("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
	})
	add(kind+": xa on PostgreSQL is rejected", func(t *test) {
		p := p
		p.In.Refuse = true
		_, err := t.start("xa", p)
		t.failure(err)
		t.is("failed")
		t.noneHeld()
		t.moved(0, 0)
	})
	addRestart(kind+" is interrupted, and resumed after a restart of the server", func(t *test) {
		p := p
		p.Interrupt = 1
		_, err := t.start("saga", p)
		t.errorHas(err, "interrupted")
		t.stopped()
		t.started()
		t.ends("succeed")
		t.calls("01/action 02/action")
		t.moved(-30, 30)
		data, err := t.start("saga", p)
		t.noError("execute", err)
		t.want(bytes.Equal(data, result), "result is %x", data)
	})
}
