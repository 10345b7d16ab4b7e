package dtmpg_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dtmpg"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The example bank and the shop. scripts/clients.sh starts the server: the
// database shop is the coordinator's; bank_extension and bank_participant have the
// extension and sql/participant.sql.

const key = "0e4d9be1f0cd8b7a52f84dbb1a1a4e2c"

var ctx = context.Background()

func dsn(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", os.Getenv("CLIENTS_HOST"), database)
}

func newGID() string {
	bytes := make([]byte, 16)
	if _, err := rand.Read(bytes); err != nil {
		panic(err)
	}
	return hex.EncodeToString(bytes)
}

// until waits for a condition.
func until(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !what(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("condition did not become true")
		}
	}
}

var programs struct {
	once   sync.Once
	folder string
	err    error
}

// program is an example, built.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.folder, programs.err = os.MkdirTemp("", "dtmpg"); programs.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", programs.folder, "./examples/...")
		build.Stderr = os.Stderr
		programs.err = build.Run()
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.folder, name)
}

func TestMain(m *testing.M) {
	status := m.Run()
	if programs.folder != "" {
		os.RemoveAll(programs.folder)
	}
	os.Exit(status)
}

type world struct {
	*testing.T
	url        string
	database   string
	shop, bank *pgxpool.Pool
}

func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

func connect(t *testing.T, database string) *pgxpool.Pool {
	pool, err := pgxpool.New(ctx, dsn(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// startWorld starts the bank with this database.
func startWorld(t *testing.T, database string) *world {
	port := freePort(t)
	w := &world{t, "http://127.0.0.1:" + port, database, connect(t, "shop"), connect(t, database)}
	bank := exec.Command(program(t, "bank"))
	bank.Env = append(os.Environ(), "BANK_DSN="+dsn(database), "BANK_KEY="+key, "PORT="+port)
	if err := bank.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		bank.Process.Kill()
		bank.Wait()
	})
	until(t, func() bool {
		connection, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	return w
}

func (w *world) exec(pool *pgxpool.Pool, sql string, arguments ...any) {
	w.Helper()
	if _, err := pool.Exec(ctx, sql, arguments...); err != nil {
		w.Fatal(err)
	}
}

// one is the only value of a query, as text.
func (w *world) one(pool *pgxpool.Pool, sql string, arguments ...any) string {
	w.Helper()
	var value *string
	if err := pool.QueryRow(ctx, "SELECT ("+sql+")::text", arguments...).Scan(&value); err != nil {
		w.Fatal(err)
	}
	if value == nil {
		return ""
	}
	return *value
}

func (w *world) reset() {
	w.Helper()
	w.exec(w.bank, "UPDATE account SET balance = 100, state = 'open'")
	w.exec(w.shop, "DROP SERVER IF EXISTS bank CASCADE")
	w.exec(w.shop, "CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '"+w.url+"')")
	w.exec(w.shop, "CREATE USER MAPPING FOR PUBLIC SERVER bank OPTIONS (hmac_key '"+key+"')")
}

// order runs the example of a shop.
func (w *world) order(amount string) string {
	w.Helper()
	order := newGID()
	shop := exec.Command(program(w.T, "shop"), order, amount)
	shop.Env = append(os.Environ(), "SHOP_DSN="+dsn("shop"))
	if out, err := shop.CombinedOutput(); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	return order
}

func (w *world) wait(gid, status string) {
	w.Helper()
	w.equal(w.one(w.shop, "SELECT dtm_wait($1, '1 minute')", gid), status)
}

func (w *world) calls(gid string) string {
	w.Helper()
	return w.one(w.shop, `SELECT string_agg(branch_id || ' ' || op || ' ' || http_status, ', ' ORDER BY started)
		FROM dtm.calls WHERE gid = $1`, gid)
}

func (w *world) balances(expected string) {
	w.Helper()
	w.equal(w.one(w.bank, "SELECT string_agg(name || ' ' || balance, ', ' ORDER BY name) FROM account"), expected)
}

func (w *world) equal(value, expected string) {
	w.Helper()
	if value != expected {
		w.Errorf("%q instead of %q", value, expected)
	}
}

// A request as the coordinator makes it.
type request struct {
	path       string
	call       dtmpg.Call
	key        string
	at         time.Time
	parameters string // "query" or "headers"
}

func newRequest(path, op string) request {
	return request{path, dtmpg.Call{TransType: "saga", GID: newGID(), BranchID: "01", Op: op,
		Body: []byte(`{"account": "alice", "amount": 30}`)}, key, time.Now(), "query"}
}

func (w *world) post(r request, status int) string {
	w.Helper()
	values := map[string]string{"trans_type": r.call.TransType, "gid": r.call.GID, "branch_id": r.call.BranchID, "op": r.call.Op}
	query, header := url.Values{}, http.Header{}
	for name, value := range values {
		if r.parameters == "headers" {
			header.Set("dtm-"+strings.ReplaceAll(name, "_", "-"), value)
		} else {
			query.Set(name, value)
		}
	}
	if r.key != "" {
		header.Set("Dtm-Signature", r.call.Sign(r.key, r.at))
	}
	made, err := http.NewRequest("POST", w.url+r.path+"?"+query.Encode(), bytes.NewReader(r.call.Body))
	if err != nil {
		w.Fatal(err)
	}
	made.Header = header
	response, err := http.DefaultClient.Do(made)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != status {
		w.Errorf("status %d instead of %d: %s", response.StatusCode, status, body)
	}
	return string(body)
}
