// Package deliver turns a certificate in memory into files on a server that was born a minute ago.
//
// The server's identity is proven first: its SSH host key must be one that the authenticated compute API
// gave from its console. Login is by a key that lives only in this process. Files are written beside their place,
// compared with their digests, and put there by one rename, so that nothing half-written is ever used; then the digests are
// read back. The private key leaves this process through that SSH session and by no other way.
package deliver

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Dial opens a connection; net.Dialer's by default, the sandbox's under --sandbox.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Login is an SSH key in memory, or several of which a server takes one.
type Login struct{ signers []ssh.Signer }

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
	return &Login{[]ssh.Signer{s}}, err
}

// or gives a login that tries another one's keys after its own; either may be nil.
func (l *Login) or(o *Login) *Login {
	out := &Login{}
	for _, x := range []*Login{l, o} {
		if x != nil {
			out.signers = append(out.signers, x.signers...)
		}
	}
	return out
}

// PublicKey is the line of authorized_keys of its first key.
func (l *Login) PublicKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(l.signers[0].PublicKey()))) + " failover"
}

// Target is a server and the place of the certificate on it.
type Target struct {
	Address  string
	Port     int
	User     string
	Via      string   // user@host[:port] of a jump host; empty: straight
	HostKeys []string // lines "type base64": one of them must be presented
	Rotated  bool     // HostKeys are not from a console: the run has made them
	Path     string   // of the file, or of the folder
	Folder   bool
	Owner    string   // user:group as chown takes it; empty: root:root
	Mode     string   // octal, of each file; empty: 0600
	Shared   bool     // folders that are missing let others than root pass through
	Reload   string   // systemd unit; empty: none
	Command  []string // to run instead of reloading a unit

	met      func(ssh.PublicKey) // is told which of HostKeys was presented
	patience time.Duration       // with each command; 0: commandFor
}

// ErrHostKey says that a server is not the one that the compute API described. It is never retried.
var ErrHostKey = errors.New("the server presents another host key than its console shows")

// errOtherKey is what people read of ErrHostKey where there is no console.
const errOtherKey = "the server presents another host key than the run has given it"

// hostKeyError is ErrHostKey without saying it twice.
type hostKeyError struct{ said *provision.Error }

func (e *hostKeyError) Error() string        { return e.said.Error() }
func (e *hostKeyError) Unwrap() error        { return e.said }
func (e *hostKeyError) Is(target error) bool { return target == ErrHostKey }

// timeouts of one delivery.
const (
	connectFor = 10 * time.Second
	commandFor = 30 * time.Second
	pushFor    = connectFor + 5*commandFor // all of one Push
)

// Push puts files into place on the target, reads their digests back, and lets its unit or command take them. Errors of
// class Transient mean that the server was not ready; ErrHostKey is Final. Whatever goes wrong, what was in place
// before stays whole and in use, or the new files are there, whole.
func Push(ctx context.Context, t Target, l *Login, files []File, dial Dial, jump ssh.ClientConfig) error {
	ctx, cancel := context.WithTimeout(ctx, pushFor)
	defer cancel()
	if t.Owner == "" {
		t.Owner = "root:root"
	}
	if t.Mode == "" {
		t.Mode = "0600"
	}
	client, err := connect(ctx, t, l, dial, jump)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // every answer was read before
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	s := shell{client: client, patience: t.patience}

	sudo, err := s.elevation(t.User)
	if err != nil {
		return err
	}
	command, parts := install(t, files)
	in := make([]io.Reader, len(parts))
	for i, p := range parts {
		in[i] = p
	}
	if out, err := s.run(sudo+command, io.MultiReader(in...)); err != nil {
		return explain("could not write "+t.Path, unless(out, files), err)
	}
	if err := s.readBack(sudo, t, files); err != nil {
		return err
	}
	return s.reload(sudo, t)
}

// readBack compares what is in place with what was sent.
func (s shell) readBack(sudo string, t Target, files []File) error {
	places := make([]string, len(files))
	for i, f := range files {
		places[i] = t.Path
		if t.Folder {
			places[i] += "/" + f.Name
		}
	}
	out, err := s.run(sudo+"sha256sum "+words(places...), nil)
	if err != nil {
		return explain("could not read back the digest of "+t.Path, out, err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, f := range files {
		if got, _, _ := strings.Cut(lines[min(i, len(lines)-1)], " "); got != digest(f.Content.Bytes()) || len(lines) != len(files) {
			return &provision.Error{What: t.Path + " does not hold what was delivered", Said: "its SHA-256 differs", Class: provision.Transient,
				Hint: "something else on the server writes there; give the certificate a place of its own: deliver { path = ... }"}
		}
	}
	return nil
}

// reload lets the service take what is in place.
func (s shell) reload(sudo string, t Target) error {
	command, what := "", ""
	switch {
	case len(t.Command) > 0:
		command, what = words(t.Command...), strings.Join(t.Command, " ")
	case t.Reload != "":
		command, what = "systemctl reload-or-restart "+quote(t.Reload), t.Reload
	default:
		return nil
	}
	out, err := s.run(sudo+command, nil)
	if err == nil {
		return nil
	}
	e := explain("the certificate is in place, but "+what+" does not take it", out, err)
	if len(t.Command) > 0 {
		e.What = "the certificate is in place, but the reload command fails: " + what
	}
	if e.Hint == "" {
		e.Hint = "on the server: journalctl -u " + pick(t.Reload, "UNIT") + "; or mend reload in the plan"
	}
	e.Class = provision.Transient
	return e
}

func pick(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
