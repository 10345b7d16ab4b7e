package dtmpg_test

import (
	"strings"
	"testing"
	"time"

	"dtmpg"
)

// The example bank under sagas and under direct calls. If one fails, a participant
// that uses the helpers does its business twice, or not at all, or takes orders
// from strangers.
func TestBank(t *testing.T) {
	for _, database := range []string{"bank_extension", "bank_participant"} {
		t.Run(database, func(t *testing.T) {
			w := startWorld(t, database)
			for name, test := range bankTests {
				t.Run(name, func(t *testing.T) {
					in := *w
					in.T = t
					in.reset()
					test(&in)
				})
			}
		})
	}
}

var bankTests = map[string]func(w *world){
	"saga succeeds": func(w *world) {
		order := w.order("30")
		w.wait(order, "succeed")
		w.balances("alice 70, bob 130")
		w.equal(w.calls(order), "01 action 200, 02 action 200")
	},

	"saga without query parameters succeeds": func(w *world) {
		w.exec(w.shop, "ALTER SERVER bank OPTIONS (ADD query_parameters 'off')")
		steps := []dtmpg.Step{{Action: "server:bank/deposit", Payload: map[string]any{"account": "bob", "amount": 1}}}
		gid, err := dtmpg.Submit(ctx, w.shop, dtmpg.Saga, steps, "ö / % "+newGID(), nil)
		if err != nil {
			w.Fatal(err)
		}
		w.wait(gid, "succeed")
		w.balances("alice 100, bob 101")
		w.equal(w.one(w.bank, "SELECT count(*) FROM dtm_barrier.barrier WHERE gid = $1", gid), "1")
	},

	"refusal is compensated": func(w *world) {
		w.exec(w.bank, "DELETE FROM account WHERE name = 'bob'")
		defer w.exec(w.bank, "INSERT INTO account VALUES ('bob', 100)")
		// the step that was refused is compensated, too: the barrier says that there is nothing to undo
		order := w.order("30")
		w.wait(order, "failed")
		w.equal(w.calls(order), "01 action 200, 02 action 409, 02 compensate 200, 01 compensate 200")
		w.failsWith(order, "no account bob")
		w.balances("alice 100")
	},

	"broken constraint is refused": func(w *world) {
		order := w.order("101")
		w.wait(order, "failed")
		w.failsWith(order, "not enough money")
		w.balances("alice 100, bob 100")
	},

	"not yet is retried": func(w *world) {
		w.exec(w.bank, "UPDATE account SET state = 'audited' WHERE name = 'bob'")
		order := w.order("30")
		until(w.T, func() bool { return strings.Contains(w.calls(order), "02 action 425") })
		w.exec(w.bank, "UPDATE account SET state = 'open' WHERE name = 'bob'")
		w.wait(order, "succeed")
		w.balances("alice 70, bob 130")
	},

	"error is retried": func(w *world) {
		w.exec(w.bank, "ALTER TABLE account RENAME TO gone")
		order := w.order("30")
		until(w.T, func() bool { return strings.Contains(w.calls(order), "01 action 500") })
		w.exec(w.bank, "ALTER TABLE gone RENAME TO account")
		w.wait(order, "succeed")
		w.balances("alice 70, bob 130")
	},

	"lost connection is retried": func(w *world) {
		lock, err := w.bank.Begin(ctx)
		if err != nil {
			w.Fatal(err)
		}
		defer lock.Rollback(ctx)
		if _, err = lock.Exec(ctx, "SELECT FROM account FOR UPDATE"); err != nil {
			w.Fatal(err)
		}
		order := w.order("30")
		// those that wait for the lock: the bank's
		until(w.T, func() bool {
			return w.one(w.shop, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = $1 AND wait_event_type = 'Lock'`, w.database) != "0"
		})
		if err = lock.Commit(ctx); err != nil {
			w.Fatal(err)
		}
		w.wait(order, "succeed")
		if calls := w.calls(order); !strings.HasPrefix(calls, "01 action 500, ") {
			w.Error(calls)
		}
		w.balances("alice 70, bob 130")
	},

	"wrong key is retried until it is right": func(w *world) {
		w.exec(w.shop, "ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key 'this is the wrong key')")
		order := w.order("30")
		until(w.T, func() bool { return strings.Contains(w.calls(order), "01 action 401") })
		w.balances("alice 100, bob 100")
		w.exec(w.shop, "ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key '"+key+"')")
		w.wait(order, "succeed")
		w.balances("alice 70, bob 130")
	},

	"repeat does nothing": func(w *world) {
		r := newRequest("/withdraw", "action")
		for i := 0; i < 2; i++ {
			w.equal(w.post(r, 200), `{"dtm_result":"SUCCESS"}`)
		}
		w.balances("alice 70, bob 100")
	},

	"repeat with parameters in headers does nothing": func(w *world) {
		r := newRequest("/withdraw", "action")
		r.parameters = "headers"
		for i := 0; i < 2; i++ {
			w.post(r, 200)
		}
		w.balances("alice 70, bob 100")
	},

	"compensation before its action": func(w *world) {
		r := newRequest("/withdraw/undo", "compensate")
		w.post(r, 200)
		w.balances("alice 100, bob 100")
		r.path, r.call.Op = "/withdraw", "action"
		w.post(r, 200) // too late
		w.balances("alice 100, bob 100")
	},

	"stranger is turned away": func(w *world) {
		r := newRequest("/withdraw", "action")
		for _, stranger := range []func(r *request){
			func(r *request) { r.key = "" },
			func(r *request) { r.key = "this is the wrong key" },
			func(r *request) { r.at = r.at.Add(-400 * time.Second) },
		} {
			wrong := r
			stranger(&wrong)
			w.post(wrong, 401)
			w.balances("alice 100, bob 100")
		}
		w.post(r, 200) // and they have left no trace
		w.balances("alice 70, bob 100")
	},

	// The reply tells whether the local transaction of a message has committed, and if not, it never does.
	"query-back": func(w *world) {
		done, lost := newRequest("/withdraw", "msg"), newRequest("/withdraw", "msg")
		for _, r := range []*request{&done, &lost} {
			r.call.TransType, r.call.BranchID = "msg", "00"
		}
		w.exec(w.bank, "SELECT dtm_barrier('msg', $1, '00', 'msg')", done.call.GID)
		for i := 0; i < 2; i++ {
			w.post(done, 200)
			w.post(lost, 409)
		}
		_, err := w.bank.Exec(ctx, "SELECT dtm_barrier('msg', $1, '00', 'msg')", lost.call.GID)
		if err == nil || !strings.Contains(err.Error(), "DUPLICATED") {
			w.Error(err)
		}
		w.balances("alice 100, bob 100")
	},

	"request without parameters": func(w *world) {
		r := newRequest("/withdraw", "action")
		r.call.GID = ""
		w.post(r, 400)
	},

	"body without a key": func(w *world) {
		for body, key := range map[string]string{`{"amount": 30}`: "account", `{"account": "alice"}`: "amount", `[]`: "account"} {
			r := newRequest("/withdraw", "action")
			r.call.Body = []byte(body)
			w.equal(w.post(r, 400), `{"message":"key \"`+key+`\" is missing in the body"}`)
		}
		w.balances("alice 100, bob 100")
	},

	"rollback leaves nothing": func(w *world) {
		gid := newGID()
		tx, err := w.shop.Begin(ctx)
		if err != nil {
			w.Fatal(err)
		}
		if _, err = dtmpg.Submit(ctx, tx, dtmpg.Saga, []dtmpg.Step{{Action: "server:bank/deposit"}}, gid, nil); err != nil {
			w.Fatal(err)
		}
		tx.Rollback(ctx)
		w.equal(w.one(w.shop, "SELECT dtm_status($1)", gid), "")
	},
}

func (w *world) failsWith(gid, reason string) {
	w.Helper()
	if text := w.one(w.shop, "SELECT rollback_reason FROM dtm.transactions WHERE gid = $1", gid); !strings.Contains(text, reason) {
		w.Error(text)
	}
}
