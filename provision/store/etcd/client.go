package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/secrets"
)

// client sends one request to whichever member answers.
type client struct {
	ends     []string
	http     *http.Client
	user     string
	password secrets.Value

	mu    sync.Mutex
	good  int // the member that answered last
	token string
}

// refusal is an answer of etcd that is not the one hoped for.
type refusal struct {
	Code    int    `json:"code"` // gRPC's
	Message string `json:"message"`
	Err     string `json:"error"` // what 3.4 says beside message
}

func (r *refusal) Error() string {
	if r.Message == "" {
		return "etcd: " + r.Err
	}
	return "etcd: " + r.Message
}

// gRPC codes that are told apart.
const (
	codeInvalid         = 3
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// passing reports whether another member, or the same a little later, may answer otherwise.
func passing(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return true
	}
	// 4 deadline, 8 exhausted, 13 internal (no leader in some versions), 14 unavailable.
	return r.Code == 4 || r.Code == 8 || r.Code == 13 || r.Code == codeUnavailable
}

// errSilent: a member that is there has not answered in time.
var errSilent = errors.New("did not answer in time")

func (r *refusal) stale() bool {
	return r.Code == codeUnauthenticated || r.Code == codeInvalid && strings.Contains(r.Message+r.Err, "auth")
}

// call posts to the members in turn, the one that answered last first. unsure says that an earlier attempt
// may have been carried out although its answer was not seen.
func (c *client) call(ctx context.Context, path string, in, out any) (unsure bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	from := c.good
	c.mu.Unlock()
	var first error
	for {
		electing := false
		for i := range c.ends {
			n := (from + i) % len(c.ends)
			err := c.attempt(ctx, n, path, body, out, i < len(c.ends)-1)
			if err == nil {
				c.mu.Lock()
				c.good = n
				c.mu.Unlock()
				return unsure, nil
			}
			if !passing(err) {
				return unsure, err
			}
			unsure = true
			if first == nil {
				first = err
			}
			var r *refusal
			electing = electing || errors.As(err, &r) || errors.Is(err, errSilent)
		}
		// A member without a leader says so or, for a read, holds its answer back; it will have one in a second or
		// two. Those that are not there will not.
		if !electing || !sleep(ctx, 200*time.Millisecond) {
			return unsure, fmt.Errorf("%w: %w", store.ErrAway, first)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// attempt asks one member, with a fresh token where the old one is refused.
func (c *client) attempt(ctx context.Context, n int, path string, body []byte, out any, short bool) error {
	if short {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attemptTime)
		defer cancel()
	}
	for again := false; ; again = true {
		token, err := c.auth(ctx, n, again)
		if err != nil {
			return err
		}
		err = c.post(ctx, n, path, token, body, out)
		var r *refusal
		if c.user == "" || again || !errors.As(err, &r) || !r.stale() {
			return err
		}
	}
}

// auth gives the token of the user, asking for one where there is none or a fresh one is needed.
func (c *client) auth(ctx context.Context, n int, fresh bool) (string, error) {
	if c.user == "" {
		return "", nil
	}
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if token != "" && !fresh {
		return token, nil
	}
	body, err := json.Marshal(map[string]string{"name": c.user, "password": string(c.password.Bytes())})
	if err != nil {
		return "", err
	}
	var out struct{ Token string }
	err = c.post(ctx, n, "/v3/auth/authenticate", "", body, &out)
	if err != nil {
		var r *refusal
		if errors.As(err, &r) && strings.Contains(r.Message+r.Err, "not enabled") { // then nobody needs to be anybody
			return "", nil
		}
		return "", err
	}
	c.mu.Lock()
	c.token = out.Token
	c.mu.Unlock()
	return out.Token, nil
}

func (c *client) request(ctx context.Context, n int, path, token string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.ends[n]+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := c.http.Do(req)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%s %w", c.ends[n], errSilent)
	}
	return resp, err
}

func (c *client) post(ctx context.Context, n int, path, token string, body []byte, out any) error {
	resp, err := c.request(ctx, n, path, token, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		r := &refusal{}
		if json.Unmarshal(b, r) != nil || r.Code == 0 {
			return fmt.Errorf("%s answered %s", c.ends[n], resp.Status)
		}
		return r
	}
	return json.Unmarshal(b, out)
}

// stream posts to the member that answered last, then to the others, and gives the body of the first answer.
func (c *client) stream(ctx context.Context, path string, in any) (io.ReadCloser, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	from := c.good
	c.mu.Unlock()
	var errs []error
	for i := range c.ends {
		n := (from + i) % len(c.ends)
		token, err := c.auth(ctx, n, false)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sctx, cancel := context.WithCancel(ctx)
		late := time.AfterFunc(requestTime, cancel)
		resp, err := c.request(sctx, n, path, token, body)
		if err == nil && late.Stop() && resp.StatusCode == http.StatusOK {
			return &streamBody{resp.Body, cancel}, nil
		}
		if err == nil {
			_ = resp.Body.Close()
			err = fmt.Errorf("%s answered %s", c.ends[n], resp.Status)
		}
		cancel()
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w: %w", store.ErrAway, errs[0])
}

type streamBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (s *streamBody) Close() error {
	s.cancel()
	return s.ReadCloser.Close()
}
