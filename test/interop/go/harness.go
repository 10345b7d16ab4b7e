// The SDKs of Go against a server that speaks dtm's protocols.
//
//	interop http|grpc
//
// The participants are in this program and use the barriers of the SDK.  Scenarios
// run concurrently, each with its own accounts.  Those that need a restart of the
// server share one, after all others have ended.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/logger"
)

// The time to wait for the server to do something by itself.
const patience = 90 * time.Second

type scenario struct {
	name     string
	restarts bool
	run      func(t *test)
}

// test is a running scenario: its state and its failures.
type test struct {
	*scenario
	gid    string
	out    string // its accounts
	in     string
	faults []string
	passed int // gates
}

var (
	httpServer = os.Getenv("INTEROP_HTTP") // http://127.0.0.1:36789/api/dtmsvr
	grpcServer = os.Getenv("INTEROP_GRPC") // 127.0.0.1:36790
	control    = os.Getenv("INTEROP_CONTROL")
	label      = os.Getenv("INTEROP_LABEL")
	scenarios  []*scenario
	gates      [2]*gate
	output     sync.Mutex
	theBank    *bank
)

func add(name string, run func(t *test)) {
	scenarios = append(scenarios, &scenario{name: name, run: run})
}

func addRestart(name string, run func(t *test)) {
	scenarios = append(scenarios, &scenario{name: name, restarts: true, run: run})
}

// gate is passed by all parties together; the last one to arrive does the work.
type gate struct {
	mutex  sync.Mutex
	absent int
	open   chan struct{}
	work   func()
}

func newGate(parties int, work func()) *gate {
	return &gate{absent: parties, open: make(chan struct{}), work: work}
}

func (g *gate) arrive() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.absent--
	if g.absent == 0 {
		g.work()
		close(g.open)
	}
}

// stopped returns after the server was stopped, started after it is up again.
func (t *test) stopped() { t.pass() }
func (t *test) started() { t.pass() }

func (t *test) pass() {
	g := gates[t.passed]
	t.passed++
	g.arrive()
	<-g.open
}

func serverControl(what string) {
	c := exec.Command(control, what)
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		panic(fmt.Errorf("%s %s: %w", control, what, err))
	}
}

func (t *test) want(condition bool, format string, args ...interface{}) {
	if !condition {
		t.faults = append(t.faults, fmt.Sprintf(format, args...))
	}
}

func (t *test) noError(what string, err error) {
	t.want(err == nil, "%s: %v", what, err)
}

// state is the server's response to a query of a transaction.
type state struct {
	Transaction *struct {
		Status         string `json:"status"`
		RollbackReason string `json:"rollback_reason"`
		Result         string `json:"result"`
	} `json:"transaction"`
	Branches []struct {
		BranchID string `json:"branch_id"`
		Op       string `json:"op"`
		Status   string `json:"status"`
		BinData  []byte `json:"bin_data"`
	} `json:"branches"`
}

func (s state) status() string {
	if s.Transaction == nil {
		return ""
	}
	return s.Transaction.Status
}

func query(gid string) (s state, err error) {
	response, err := http.Get(httpServer + "/query?gid=" + url.QueryEscape(gid))
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

func waitFor(condition func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

// ends waits for a status of the transaction, and returns its state.
func (t *test) ends(status string) (s state) {
	var err error

	waitFor(func() bool {
		s, err = query(t.gid)
		return err == nil && (s.status() == status || s.status() == "succeed" || s.status() == "failed")
	})
	t.noError("query", err)
	t.want(s.status() == status, "status is %q, not %q", s.status(), status)
	return s
}

// is checks the status without waiting.
func (t *test) is(status string) (s state) {
	s, err := query(t.gid)
	t.noError("query", err)
	t.want(s.status() == status, "status is %q, not %q", s.status(), status)
	return s
}

// moved checks the accounts: the amounts are what was added to each.
func (t *test) moved(out, in int) {
	for account, want := range map[string]int{t.out: 100 + out, t.in: 100 + in} {
		balance, trading, err := theBank.balance(account)
		t.noError("balance", err)
		t.want(balance == want && trading == 0, "%s has %d (and %d reserved), not %d",
			account, balance, trading, want)
	}
}

// calls checks the calls that the participants have received, in order.
func (t *test) calls(want string) {
	have := theBank.calls(t.gid)
	t.want(have == want, "calls: %q, not %q", have, want)
}

func (t *test) failure(err error) {
	t.want(errors.Is(err, dtmcli.ErrFailure), "error is %v, not FAILURE", err)
}

func (t *test) errorHas(err error, text string) {
	t.want(err != nil && strings.Contains(err.Error(), text), "error is %v, without %q", err, text)
}

func (t *test) reasonHas(s state, text string) {
	t.want(s.Transaction != nil && strings.Contains(s.Transaction.RollbackReason, text),
		"rollback reason is without %q: %+v", text, s.Transaction)
}

func (t *test) execute(newGid func() string) {
	defer func() {
		if x := recover(); x != nil {
			t.faults = append(t.faults, fmt.Sprintf("panic: %v", x))
		}
		for t.restarts && t.passed < len(gates) {
			gates[t.passed].arrive()
			t.passed++
		}
		t.report()
	}()
	t.gid = newGid()
	t.out, t.in = t.gid+"/out", t.gid+"/in"
	t.noError("accounts", theBank.open(t.out, t.in))
	t.run(t)
}

func (t *test) report() {
	output.Lock()
	defer output.Unlock()
	if len(t.faults) == 0 {
		fmt.Printf("ok - %s: %s\n", label, t.name)
		return
	}
	fmt.Printf("not ok - %s: %s\n", label, t.name)
	for _, fault := range t.faults {
		fmt.Printf("#   %s\n", strings.ReplaceAll(fault, "\n", "\n#   "))
	}
	s, err := query(t.gid)
	text, _ := json.Marshal(s)
	fmt.Printf("#   gid %s, calls %q, at the server %s %v\n", t.gid, theBank.calls(t.gid), text, err)
}

// runAll runs the scenarios, those with a restart last.
func runAll(newGid func() string) {
	for _, restarts := range []bool{false, true} {
		var running sync.WaitGroup
		var chosen []*scenario

		for _, s := range scenarios {
			if s.restarts == restarts && (len(os.Args) < 3 || strings.Contains(s.name, os.Args[2])) {
				chosen = append(chosen, s)
			}
		}
		gates[0] = newGate(len(chosen), func() { serverControl("stop") })
		gates[1] = newGate(len(chosen), func() {
			serverControl("start")
			waitFor(func() (up bool) {
				defer func() { up = recover() == nil }()
				newGid()
				return
			})
		})
		for _, s := range chosen {
			running.Add(1)
			go func(s *scenario) {
				defer running.Done()
				(&test{scenario: s}).execute(newGid)
			}(s)
		}
		running.Wait()
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func post(path string, body interface{}) (int, string) {
	text, err := json.Marshal(body)
	must(err)
	response, err := http.Post(httpServer+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(answer)
}

func main() {
	logger.InitLog("fatal")
	dtmcli.SetCurrentDBType(dtmcli.DBTypePostgres)
	theBank = openBank()
	switch os.Args[1] {
	case "http":
		httpScenarios()
		runAll(func() string { return dtmcli.MustGenGid(httpServer) })
	case "grpc":
		grpcScenarios()
		runAll(newGidByGrpc)
	}
}
