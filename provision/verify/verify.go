// Package verify turns an address into a proof that the service answers there: TCP, TLS with the right
// certificate for the right name, and the HTTP status that the plan expects.
//
// It changes nothing, never skips verification, and never follows a redirect: what is proven is the
// answer of that address itself.
package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Dial opens a connection; net.Dialer's by default, the sandbox's under --sandbox.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Request says what must be answered.
type Request struct {
	Address     string // IP address to connect to
	URL         string // https://name[:port]/path, or with Plain http://
	Status      int
	Body        string         // substring; empty: any body
	Fingerprint string         // SHA-256 of the leaf, hex; empty: any leaf that verifies
	Roots       *x509.CertPool // nil: the system's
	Dial        Dial
	Timeout     time.Duration // of the whole exchange
	Plain       bool          // URL may be http://, which proves that it answers and nothing more
}

// maxBody bounds how much of an answer is read to find Body in it.
const maxBody = 1 << 20

// Answers makes one full exchange with one address. The error says at which layer it ended and what was
// seen there; nil is proof.
func Answers(ctx context.Context, r Request) error {
	u, err := url.Parse(r.URL)
	if err == nil && u.Scheme == "http" && r.Plain && u.Hostname() != "" {
		return r.plain(ctx, u)
	}
	ctx, cancel := r.bound(ctx)
	defer cancel()
	conn, addr, err := r.handshake(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return exchange(ctx, conn, r, addr)
}

// Presents is the first half of Answers: TLS completes under the name, with the certificate that is wanted.
func Presents(ctx context.Context, r Request) error {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	conn, _, err := r.handshake(ctx)
	if err == nil {
		conn.Close()
	}
	return err
}

func (r Request) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Timeout <= 0 {
		r.Timeout = 10 * time.Second
	}
	return context.WithTimeout(ctx, r.Timeout)
}

func (r Request) connect(ctx context.Context, u *url.URL, port string) (net.Conn, string, error) {
	if p := u.Port(); p != "" {
		port = p
	}
	addr := net.JoinHostPort(r.Address, port)
	dial := r.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, addr, failed("tcp", addr, "does not accept a connection", err)
	}
	return conn, addr, nil
}

// plain makes an exchange without TLS.
func (r Request) plain(ctx context.Context, u *url.URL) error {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	conn, addr, err := r.connect(ctx, u, "80")
	if err != nil {
		return err
	}
	defer conn.Close()
	return exchange(ctx, conn, r, addr)
}

// handshake gives a connection over which the right certificate was presented under the right name.
func (r Request) handshake(ctx context.Context) (net.Conn, string, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, "", &provision.Error{What: fmt.Sprintf("%q is not an https URL", r.URL)}
	}
	raw, addr, err := r.connect(ctx, u, "443")
	if err != nil {
		return nil, addr, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: u.Hostname(), RootCAs: r.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, addr, failed("tls", addr, tlsTrouble(err), err)
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	if got := secrets.Fingerprint(leaf); r.Fingerprint != "" && got != r.Fingerprint {
		raw.Close()
		return nil, addr, &provision.Error{What: fmt.Sprintf("%s presents another certificate than the one delivered", addr),
			Said: fmt.Sprintf("SHA-256 %s…, wanted %s…", short(got), short(r.Fingerprint)), Class: provision.Transient}
	}
	return conn, addr, nil
}

func exchange(ctx context.Context, conn net.Conn, r Request, addr string) error {
	same := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	t := &http.Transport{
		DialContext:       same,
		DialTLSContext:    same,
		DisableKeepAlives: true,
	}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "failover-verify")
	res, err := t.RoundTrip(req)
	if err != nil {
		return failed("http", addr, "does not answer HTTP", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return failed("http", addr, "stopped in the middle of its answer", err)
	}
	if res.StatusCode != r.Status {
		return &provision.Error{What: fmt.Sprintf("%s answers %d, wanted %d", addr, res.StatusCode, r.Status), Class: provision.Transient}
	}
	if !strings.Contains(string(body), r.Body) {
		return &provision.Error{What: fmt.Sprintf("%s answers %d, but its body does not hold %q", addr, res.StatusCode, r.Body), Class: provision.Transient}
	}
	return nil
}

// failed is transient: a server that was born a minute ago may answer in the next one.
func failed(layer, addr, what string, err error) error {
	return &provision.Error{What: addr + " " + what, Said: layer + ": " + plain(err), Class: provision.Transient}
}

// plain drops the addresses that net puts in front of each error; they are in the sentence already.
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

func tlsTrouble(err error) string {
	var (
		host x509.HostnameError
		auth x509.UnknownAuthorityError
		inv  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &host):
		return "presents a certificate for other names"
	case errors.As(err, &auth):
		return "presents a certificate that no trusted root signed"
	case errors.As(err, &inv) && inv.Reason == x509.Expired:
		return "presents a certificate that has expired or is not yet valid"
	}
	return "does not complete TLS"
}

func short(fp string) string { return fp[:min(16, len(fp))] }

// counted shows "2 of 3".
func counted(n, of int) string { return strconv.Itoa(n) + " of " + strconv.Itoa(of) }
