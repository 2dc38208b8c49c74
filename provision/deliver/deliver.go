// Package deliver turns a certificate in memory into a file on a server that was born a minute ago.
//
// The server's identity is proven first: its SSH host key must be one that the authenticated compute API
// gave from its console. Login is by a key that lives only in this process. The file is written beside its place
// and renamed, so that nothing half-written is ever used, and its digest is read back. The private key
// leaves this process through that SSH session and by no other way.
package deliver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Dial opens a connection; net.Dialer's by default, the sandbox's under --sandbox.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Login is an SSH key in memory.
type Login struct{ signer ssh.Signer }

// NewLogin derives the ed25519 login key of a run from the private key of a certificate, by HKDF
// (RFC 5869) with the run's id as salt. Nothing need be stored for a run to be resumed: whoever may fetch
// the certificate gets the same login key. Nothing leads back from it to the certificate's key.
func NewLogin(run string, c *secrets.Certificate) (*Login, error) {
	seed, err := hkdf.Key(sha256.New, c.Key().Bytes(), []byte(run), "failover login key v1", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	defer clear(seed)
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	return &Login{s}, err
}

// PublicKey is the line of authorized_keys.
func (l *Login) PublicKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(l.signer.PublicKey()))) + " failover"
}

// Target is a server and the place of the file on it.
type Target struct {
	Address  string
	Port     int
	User     string
	Via      string   // user@host[:port] of a jump host; empty: straight
	HostKeys []string // lines "type base64": one of them must be presented
	Path     string
	Owner    string // user[:group]; empty: root:root
	Mode     string // octal; empty: 0600
	Reload   string // systemd unit; empty: none
}

// ErrHostKey says that a server is not the one that the compute API described. It is never retried.
var ErrHostKey = errors.New("the server presents another host key than its console shows")

// hostKeyError is ErrHostKey without saying it twice.
type hostKeyError struct{ said *provision.Error }

func (e *hostKeyError) Error() string        { return e.said.Error() }
func (e *hostKeyError) Unwrap() error        { return e.said }
func (e *hostKeyError) Is(target error) bool { return target == ErrHostKey }

// timeouts of one delivery.
const (
	connectFor = 10 * time.Second
	commandFor = 30 * time.Second
)

// Push writes content to the target, reloads its unit and reads the digest back. Errors of class
// Transient mean that the server was not ready; ErrHostKey is Final.
func Push(ctx context.Context, t Target, l *Login, content secrets.Value, dial Dial, jump ssh.ClientConfig) error {
	client, err := connect(ctx, t, l, dial, jump)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // every answer was read before
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()

	sudo, err := elevation(client)
	if err != nil {
		return err
	}
	owner, mode := t.Owner, t.Mode
	if owner == "" {
		owner = "root:root"
	}
	if mode == "" {
		mode = "0600"
	}
	if out, err := run(client, sudo+receive+" sh "+words(dirOf(t.Path), t.Path, owner, mode), bytes.NewReader(content.Bytes())); err != nil {
		return &provision.Error{What: "could not write " + t.Path, Said: said(out, err), Class: provision.Transient}
	}
	out, err := run(client, sudo+"sha256sum "+quote(t.Path), nil)
	if err != nil {
		return &provision.Error{What: "could not read back the digest of " + t.Path, Said: said(out, err), Class: provision.Transient}
	}
	want := sha256.Sum256(content.Bytes())
	if got, _, _ := strings.Cut(strings.TrimSpace(out), " "); got != hex.EncodeToString(want[:]) {
		return &provision.Error{What: t.Path + " does not hold what was delivered", Said: "its SHA-256 differs", Class: provision.Transient}
	}
	if t.Reload == "" {
		return nil
	}
	if out, err := run(client, sudo+"systemctl reload-or-restart "+quote(t.Reload), nil); err != nil {
		return &provision.Error{What: "the certificate is in place, but " + t.Reload + " does not take it", Said: said(out, err), Class: provision.Transient}
	}
	return nil
}

// receive writes its standard input to $2 by way of a file beside it. The content never is an argument.
const receive = `sh -c 'umask 077 && mkdir -p "$1" && cat > "$2.tmp" && chown "$3" "$2.tmp" && chmod "$4" "$2.tmp" && mv -f "$2.tmp" "$2"'`

func dirOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 1)] }

// elevation gives what must stand before a command so that root runs it.
func elevation(c *ssh.Client) (string, error) {
	out, err := run(c, "id -u", nil)
	if err != nil {
		return "", &provision.Error{What: "the login works, but no command runs", Said: said(out, err), Class: provision.Transient}
	}
	if strings.TrimSpace(out) == "0" {
		return "", nil
	}
	if out, err := run(c, "sudo -n true", nil); err != nil {
		return "", &provision.Error{What: "the login user may not become root without a password", Said: said(out, err), Class: provision.Transient,
			Hint: "give it sudo in the image, or set ssh { user } to one that has it"}
	}
	return "sudo -n ", nil
}

// run gives what a command printed, bounded, on both of its outputs.
func run(c *ssh.Client, command string, stdin io.Reader) (string, error) {
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer s.Close() //nolint:errcheck // the command has ended
	var out bounded
	s.Stdout, s.Stderr, s.Stdin = &out, &out, stdin
	timer := time.AfterFunc(commandFor, func() { _ = s.Close() })
	defer timer.Stop()
	err = s.Run(command)
	return out.String(), err
}

// bounded keeps the first 4 KiB. ssh writes both outputs from goroutines of its own.
type bounded struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *bounded) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := 4096 - w.b.Len(); room > 0 {
		w.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (w *bounded) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func said(out string, err error) string {
	if out = strings.TrimSpace(out); out != "" {
		return out
	}
	return err.Error()
}

// quote makes one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func words(ws ...string) string {
	for i, w := range ws {
		ws[i] = quote(w)
	}
	return strings.Join(ws, " ")
}

// connect dials, by way of the jump host where there is one, and proves the server's identity.
func connect(ctx context.Context, t Target, l *Login, dial Dial, jump ssh.ClientConfig) (*ssh.Client, error) {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	keys, algorithms, err := parseKeys(t.HostKeys)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(t.Address, strconv.Itoa(t.Port))
	ctx, cancel := context.WithTimeout(ctx, connectFor)
	defer cancel()
	var conn net.Conn
	var hop *ssh.Client
	if t.Via != "" {
		if hop, err = connectVia(ctx, t.Via, dial, jump); err != nil {
			return nil, err
		}
		conn, err = hop.DialContext(ctx, "tcp", addr)
	} else {
		conn, err = dial(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, errors.Join(&provision.Error{What: "SSH at " + addr + " does not accept a connection", Said: plain(err), Class: provision.Transient}, closeHop(hop))
	}
	var mismatch error
	config := &ssh.ClientConfig{
		User: t.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(l.signer)}, HostKeyAlgorithms: algorithms, Timeout: connectFor,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			for _, k := range keys {
				if bytes.Equal(k.Marshal(), key.Marshal()) {
					return nil
				}
			}
			mismatch = &hostKeyError{&provision.Error{What: "REFUSED: " + ErrHostKey.Error(), Class: provision.Final,
				Said: fmt.Sprintf("%s presents %s; the console shows %s", addr, ssh.FingerprintSHA256(key), fingerprints(keys)),
				Hint: "nothing was sent to it; look at who answers at this address before anything else"}}
			return mismatch
		},
	}
	client, err := handshake(ctx, conn, addr, config)
	if err != nil {
		_ = closeHop(hop)
	}
	if mismatch != nil {
		return nil, mismatch
	}
	if err != nil {
		return nil, &provision.Error{What: "SSH at " + addr + " does not let us in as " + t.User, Said: plain(err), Class: provision.Transient}
	}
	if hop != nil {
		go func() { _ = client.Wait(); _ = hop.Close() }()
	}
	return client, nil
}

func closeHop(c *ssh.Client) error {
	if c == nil {
		return nil
	}
	return c.Close()
}

// handshake gives up when the context ends: a server that accepts and then says nothing would hold it for ever.
func handshake(ctx context.Context, conn net.Conn, addr string, config *ssh.ClientConfig) (*ssh.Client, error) {
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(d)
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return ssh.NewClient(c, chans, reqs), nil
}

func connectVia(ctx context.Context, via string, dial Dial, config ssh.ClientConfig) (*ssh.Client, error) {
	user, host, ok := strings.Cut(via, "@")
	if ok {
		config.User = user
	} else {
		host = via
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "22")
	}
	conn, err := dial(ctx, "tcp", host)
	if err == nil {
		var c *ssh.Client
		if c, err = handshake(ctx, conn, host, &config); err == nil {
			return c, nil
		}
	}
	return nil, &provision.Error{What: "jump host " + host + " cannot be used", Said: plain(err), Class: provision.Transient,
		Hint: "its host key must be in known_hosts, and your SSH agent must hold a key that it takes"}
}

// parseKeys also gives the algorithms to ask for: without them a server may present a key of another
// type than the console showed, which would look like an attack.
func parseKeys(lines []string) ([]ssh.PublicKey, []string, error) {
	var keys []ssh.PublicKey
	var algorithms []string
	for _, line := range lines {
		k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			continue
		}
		keys = append(keys, k)
		if k.Type() == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			algorithms = append(algorithms, k.Type())
		}
	}
	if len(keys) == 0 {
		return nil, nil, &provision.Error{What: "no host key of the server is known", Class: provision.Final}
	}
	return keys, algorithms, nil
}

func fingerprints(keys []ssh.PublicKey) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = ssh.FingerprintSHA256(k)
	}
	return strings.Join(out, ", ")
}

func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
