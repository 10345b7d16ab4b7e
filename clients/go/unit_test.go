package dtmpg_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"dtmpg"

	"github.com/jackc/pgx/v5"
)

// What the examples do not reach. If one fails: see its name.

const forever = time.Duration(math.MaxInt64)

func TestSignatureIsTheOneOfTheDocumentation(t *testing.T) {
	documented := "t=1700000000,v1=b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21"
	call := dtmpg.Call{TransType: "saga", GID: "g", BranchID: "01", Op: "action", Body: []byte(`{"a": 1}`)}
	if signed := call.Sign("0123456789abcdef", time.Unix(1700000000, 0)); signed != documented {
		t.Error(signed)
	}
	keys := []string{"another key, new", "0123456789abcdef"}
	if !call.IsSigned(documented, keys, forever) {
		t.Error("the signature is not recognized")
	}
	if call.IsSigned(documented, keys, 5*time.Minute) {
		t.Error("it is too old")
	}
	for _, wrong := range []string{"", documented + "0", strings.Replace(documented, "b2", "b3", 1),
		strings.Replace(documented, "t=1", "t=2", 1), "t=,v1=" + strings.Repeat("0", 64)} {
		if call.IsSigned(wrong, keys, forever) {
			t.Errorf("%q is wrong", wrong)
		}
	}
}

func TestEmptyKeySignsNothing(t *testing.T) {
	call := dtmpg.Call{TransType: "saga", GID: "g", BranchID: "01", Op: "action"}
	if call.IsSigned(call.Sign("", time.Now()), []string{""}, forever) {
		t.Error("anybody can sign with an empty key")
	}
	defer func() {
		if recover() == nil {
			t.Error("a branch with an empty key")
		}
	}()
	dtmpg.Participant{Keys: []string{"0123456789abcdef", ""}}.Branch(nil)
}

// read is the status of a request with these parameters.
func read(parameters string, header http.Header, keys ...string) int {
	request := httptest.NewRequest("POST", "/?"+parameters, nil)
	for name, values := range header {
		request.Header[name] = values
	}
	_, err := dtmpg.ReadCall(request, nil, keys, forever)
	var reply *dtmpg.Reply
	if errors.As(err, &reply) {
		return reply.Status
	}
	return 200
}

func TestLineFeedDoesNotShiftTheBoundary(t *testing.T) {
	signed := dtmpg.Call{GID: "g", BranchID: "01", Op: "x\naction"}
	header := http.Header{"Dtm-Signature": {signed.Sign("0123456789abcdef", time.Now())}}
	query := url.Values{"trans_type": {"saga"}, "gid": {"g\n01"}, "branch_id": {"x"}, "op": {"action"}}
	if status := read(query.Encode(), header, "0123456789abcdef"); status != 400 {
		t.Error(status)
	}
}

func TestParameterThatIsGivenTwiceIsNone(t *testing.T) {
	if status := read("trans_type=saga&gid=a&gid=b&branch_id=01&op=action", nil); status != 400 {
		t.Error(status)
	}
}

// serve is the response to a call of a branch.
func serve(p dtmpg.Participant, call dtmpg.Call, business, skipped dtmpg.Business) (int, string) {
	query := url.Values{"trans_type": {call.TransType}, "gid": {call.GID}, "branch_id": {call.BranchID}, "op": {call.Op}}
	request := httptest.NewRequest("POST", "/?"+query.Encode(), bytes.NewReader(call.Body))
	response := httptest.NewRecorder()
	p.BranchOrElse(business, skipped).ServeHTTP(response, request)
	return response.Code, response.Body.String()
}

func participant(t *testing.T) (dtmpg.Participant, *bytes.Buffer) {
	errors := &bytes.Buffer{}
	return dtmpg.Participant{DB: connect(t, "bank_extension"), ErrorLog: log.New(errors, "", 0)}, errors
}

func returning(value any) dtmpg.Business {
	return func(context.Context, pgx.Tx, *dtmpg.Call) (any, error) { return value, nil }
}

func executing(sql string) dtmpg.Business {
	return func(ctx context.Context, tx pgx.Tx, _ *dtmpg.Call) (any, error) {
		_, err := tx.Exec(ctx, sql)
		return nil, err
	}
}

func expect(t *testing.T, status int, body string, expectedStatus int, expected string) {
	t.Helper()
	if status != expectedStatus || !regexp.MustCompile(expected).MatchString(body) {
		t.Errorf("%d %s instead of %d %s", status, body, expectedStatus, expected)
	}
}

func TestWordsOfRepliesAreNotMixedUp(t *testing.T) {
	p, _ := participant(t)
	for _, reply := range []struct {
		err    error
		status int
		body   string
	}{
		{dtmpg.Refused("the audit is ONGOING"), 409, `"FAILURE".*ongoing`},
		{dtmpg.Ongoing("after a FAILURE"), 425, `"ONGOING".*failure`},
	} {
		status, body := serve(p, newRequest("", "action").call, func(context.Context, pgx.Tx, *dtmpg.Call) (any, error) {
			return nil, reply.err
		}, nil)
		expect(t, status, body, reply.status, reply.body)
	}
}

func TestSQLSTATEsAreReplies(t *testing.T) {
	p, _ := participant(t)
	for code, expected := range map[string]int{"DT409": 409, "DT425": 425} {
		status, body := serve(p, newRequest("", "action").call, executing("DO $$ BEGIN RAISE 'no' USING ERRCODE = '"+code+"'; END $$"), nil)
		expect(t, status, body, expected, `"message":"no"`)
	}
}

func TestIgnoredErrorIsNoSuccess(t *testing.T) {
	p, errors := participant(t)
	call := newRequest("", "action").call
	status, body := serve(p, call, func(ctx context.Context, tx pgx.Tx, _ *dtmpg.Call) (any, error) {
		_, _ = tx.Exec(ctx, "SELECT 1 / 0")
		return nil, nil
	}, nil)
	expect(t, status, body, 500, "^{\"message\":\"internal error\"}$")
	if !strings.Contains(errors.String(), "nested transaction") {
		t.Error(errors)
	}
	status, body = serve(p, call, returning("done"), nil)
	expect(t, status, body, 200, `^"done"$`)
}

func TestErrorInANestedTransactionCanBeIgnored(t *testing.T) {
	p, _ := participant(t)
	status, body := serve(p, newRequest("", "action").call, func(ctx context.Context, tx pgx.Tx, _ *dtmpg.Call) (any, error) {
		nested, err := tx.Begin(ctx)
		if err != nil {
			return nil, err
		}
		_, _ = nested.Exec(ctx, "SELECT 1 / 0")
		return "done", nested.Rollback(ctx)
	}, nil)
	expect(t, status, body, 200, `^"done"$`)
}

func TestCommitOfOnesOwnIsAnError(t *testing.T) {
	p, _ := participant(t)
	status, body := serve(p, newRequest("", "action").call, func(ctx context.Context, tx pgx.Tx, _ *dtmpg.Call) (any, error) {
		return nil, tx.Commit(ctx)
	}, nil)
	expect(t, status, body, 500, "internal error")
}

func TestResultThatIsNoJSONRollsBack(t *testing.T) {
	p, _ := participant(t)
	call := newRequest("", "action").call
	status, body := serve(p, call, returning(make(chan int)), nil)
	expect(t, status, body, 500, "internal error")
	status, body = serve(p, call, returning("<done>"), nil)
	expect(t, status, body, 200, `^"<done>"$`)
}

func TestPanicRollsBack(t *testing.T) {
	p, _ := participant(t)
	call := newRequest("", "action").call
	func() {
		defer func() { _ = recover() }()
		serve(p, call, func(context.Context, pgx.Tx, *dtmpg.Call) (any, error) { panic("oops") }, nil)
	}()
	status, body := serve(p, call, returning("done"), nil)
	expect(t, status, body, 200, `^"done"$`)
}

func TestSkippedRepliesToARepeat(t *testing.T) {
	p, _ := participant(t)
	call := newRequest("", "action").call
	status, body := serve(p, call, returning(1), nil)
	expect(t, status, body, 200, "^1$")
	status, body = serve(p, call, returning(2), nil)
	expect(t, status, body, 200, "SUCCESS")
	status, body = serve(p, call, returning(3), returning(1))
	expect(t, status, body, 200, "^1$")
}

func TestBodyThatIsTooLong(t *testing.T) {
	p, _ := participant(t)
	request := httptest.NewRequest("POST", "/", io.LimitReader(zeros{}, 17<<20))
	response := httptest.NewRecorder()
	p.Branch(returning("done")).ServeHTTP(response, request)
	expect(t, response.Code, response.Body.String(), 500, "internal error")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestSubmitWithoutGID(t *testing.T) {
	gid, err := dtmpg.Submit(ctx, connect(t, "shop"), dtmpg.Msg, []dtmpg.Step{{}}, "", &dtmpg.Options{Notify: true})
	if err != nil || len(gid) != 26 {
		t.Error(gid, err)
	}
}

func TestREADMEHasTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bank", "shop"} {
		example, err := os.ReadFile("examples/" + name + "/main.go")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(readme), "```go\n"+string(example)+"```") {
			t.Error(name)
		}
	}
}
