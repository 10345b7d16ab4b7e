package dtmpg

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Call is one operation of one branch of a global transaction.
type Call struct {
	TransType string
	GID       string
	BranchID  string
	Op        string
	Body      []byte // as received: the payload of the step
}

// Decode stores the payload, which is JSON, in value. If it is not, or lacks one of the
// required keys, the error is a response of status 400 that says so.
func (c *Call) Decode(value any, required ...string) error {
	if len(required) > 0 {
		var keys map[string]any
		_ = json.Unmarshal(c.Body, &keys) // what is no object has no keys
		for _, key := range required {
			if keys[key] == nil {
				return badRequest("key %q is missing in the body", key)
			}
		}
	}
	if err := json.Unmarshal(c.Body, value); err != nil {
		return badRequest("the body is not the JSON that is expected: %w", err)
	}
	return nil
}

// isQueryBack: dtm asks if the local transaction of a prepared message has committed.
func (c *Call) isQueryBack() bool { return c.Op == "msg" } // TransType is not signed

// ReadCall is the call that a request with this body is. With keys, only if it is
// signed with one of them, at most maxAge ago.
func ReadCall(request *http.Request, body []byte, keys []string, maxAge time.Duration) (*Call, error) {
	call := &Call{Body: body}
	query := request.URL.Query()
	for name, value := range map[string]*string{
		"trans_type": &call.TransType, "gid": &call.GID, "branch_id": &call.BranchID, "op": &call.Op,
	} {
		if *value = parameter(query, request.Header, name); *value == "" {
			return nil, badRequest("parameter %q is missing: the request is not a call of dtm", name)
		}
	}
	if len(keys) == 0 {
		return call, nil
	}
	if strings.Contains(call.GID+call.BranchID+call.Op, "\n") {
		// it would shift the boundary between the fields that are signed
		return nil, badRequest("a parameter contains a line feed")
	}
	if !call.IsSigned(request.Header.Get("Dtm-Signature"), keys, maxAge) {
		return nil, reply(http.StatusUnauthorized, "the signature is missing or wrong", nil)
	}
	return call, nil
}

func parameter(query url.Values, header http.Header, name string) string {
	if values := query[name]; len(values) == 1 {
		return values[0]
	} else if len(values) > 1 {
		return "" // which of them was meant?
	}
	// dtm sends headers if the option query_parameters is off; they are percent-encoded
	value, err := url.PathUnescape(header.Get("dtm-" + strings.ReplaceAll(name, "_", "-")))
	if err != nil {
		return ""
	}
	return value
}

var signature = regexp.MustCompile(`^t=([0-9]{1,12}),v1=[0-9a-f]{64}$`)

// IsSigned tells whether this Dtm-Signature was made for the call with one of the
// keys, at most maxAge ago. With an empty key nothing is signed.
func (c *Call) IsSigned(header string, keys []string, maxAge time.Duration) bool {
	match := signature.FindStringSubmatch(header)
	if match == nil {
		return false
	}
	seconds, _ := strconv.ParseInt(match[1], 10, 64) // 12 digits fit
	at := time.Unix(seconds, 0)
	if age := time.Since(at); age > maxAge || age < -maxAge {
		return false
	}
	for _, key := range keys {
		if key != "" && hmac.Equal([]byte(header), []byte(c.Sign(key, at))) {
			return true
		}
	}
	return false
}

// Sign is the Dtm-Signature of the call at a time, of which seconds count.
func (c *Call) Sign(key string, at time.Time) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(strings.Join([]string{seconds, c.GID, c.BranchID, c.Op, ""}, "\n")))
	mac.Write(c.Body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
