package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// serveSSH accepts logins by public key for the users of the machine. A session
// runs one command (see shell.go); direct-tcpip leads to other servers, so that a
// server can be a jump host.
func (m *machine) serveSSH(l net.Listener) {
	cfg := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, k := range m.users[meta.User()] {
				if bytes.Equal(k.Marshal(), key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("not authorized")
		},
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if !m.track(conn) {
			conn.Close()
			return
		}
		m.c.wg.Go(func() {
			defer m.untrack(conn)
			defer conn.Close()
			own := *cfg // a connection is met with the keys of its own moment
			m.mu.Lock()
			for _, k := range m.hostKeys {
				own.AddHostKey(k)
			}
			m.mu.Unlock()
			m.session(conn, &own)
		})
	}
}

func (m *machine) session(conn net.Conn, cfg *ssh.ServerConfig) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	sc, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	conn.SetDeadline(time.Time{})
	defer sc.Close()
	m.c.wg.Go(func() {
		for r := range reqs {
			// keepalive@openssh.com wants any answer; tcpip-forward gets a no.
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
	})
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			if ch, reqs, err := nc.Accept(); err == nil {
				m.c.wg.Go(func() { m.exec(sc.User(), ch, reqs) })
			}
		case "direct-tcpip":
			m.c.wg.Go(func() { m.forward(nc) })
		default:
			nc.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
}

func (m *machine) exec(user string, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for r := range reqs {
		switch r.Type {
		case "exec":
			var p struct{ Command string }
			if ssh.Unmarshal(r.Payload, &p) != nil {
				r.Reply(false, nil)
				continue
			}
			r.Reply(true, nil)
			m.c.wg.Go(func() {
				for r := range reqs {
					if r.WantReply {
						r.Reply(false, nil)
					}
				}
			})
			status := m.run(user, p.Command, ch, ch, ch.Stderr())
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
			return
		case "shell":
			r.Reply(true, nil)
			fmt.Fprint(ch.Stderr(), "sandbox: there is no interactive shell\r\n")
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{1}))
			return
		default: // env, pty-req, sftp
			if r.WantReply {
				r.Reply(r.Type == "pty-req", nil)
			}
		}
	}
}

func (m *machine) forward(nc ssh.NewChannel) {
	var p struct {
		Host  string
		Port  uint32
		OHost string
		OPort uint32
	}
	if ssh.Unmarshal(nc.ExtraData(), &p) != nil {
		nc.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	ctx, cancel := context.WithTimeout(m.c.ctx, time.Minute)
	defer cancel()
	out, err := m.c.dial(ctx, "tcp", net.JoinHostPort(p.Host, fmt.Sprint(p.Port)), m.s.region)
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer out.Close()
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	m.c.wg.Go(func() { ssh.DiscardRequests(reqs) })
	if !m.track(out) {
		return
	}
	defer m.untrack(out)
	var once sync.Once
	done := make(chan struct{})
	for _, f := range []func(){func() { io.Copy(out, ch) }, func() { io.Copy(ch, out) }} {
		m.c.wg.Go(func() { f(); once.Do(func() { close(done) }) })
	}
	<-done
}
