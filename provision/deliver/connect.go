package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
)

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
		User: t.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(l.signers...)}, HostKeyAlgorithms: algorithms, Timeout: connectFor,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			for _, k := range keys {
				if bytes.Equal(k.Marshal(), key.Marshal()) {
					if t.met != nil {
						t.met(key)
					}
					return nil
				}
			}
			what, from := ErrHostKey.Error(), "the console shows"
			if t.Rotated {
				what, from = errOtherKey, "the run gave it"
			}
			mismatch = &hostKeyError{&provision.Error{What: "REFUSED: " + what, Class: provision.Final,
				Said: fmt.Sprintf("%s presents %s; %s %s", addr, ssh.FingerprintSHA256(key), from, fingerprints(keys)),
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
		return nil, noLogin(addr, t.User, err)
	}
	if hop != nil {
		go func() { _ = client.Wait(); _ = hop.Close() }()
	}
	return client, nil
}

// noLogin says at what the login ended: sshd may be starting, or is none, or does not know the user or the key.
func noLogin(addr, user string, err error) error {
	e := &provision.Error{What: "SSH at " + addr + " does not let us in as " + user, Said: plain(err), Class: provision.Transient}
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		e.What, e.Said = "SSH at "+addr+" accepts a connection, and then does not finish its greeting", fmt.Sprintf("nothing came of it within %s", connectFor)
		e.Hint = "sshd may be starting yet, or short of memory, or something else listens there; look at the server's console"
	case strings.Contains(err.Error(), "unable to authenticate"):
		e.Hint = `is it the login user of the image? ssh { user = ... } in the server block; cloud-init gives it the key at its first boot only`
	case errors.Is(err, io.EOF), strings.Contains(err.Error(), "connection reset"), strings.Contains(err.Error(), "version"):
		e.Hint = "sshd may be starting yet (it ends connections until it has its keys), or something else listens at this port"
	}
	return e
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
