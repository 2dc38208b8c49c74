package deliver

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// server is a real SSH server. What it does with a command is the test's; what it was sent is kept.
type server struct {
	t        *testing.T
	ln       net.Listener
	host     ssh.Signer
	user     string
	key      ssh.PublicKey
	command  func(command string, stdin io.Reader, out io.Writer) int
	dialFrom func(addr string) (net.Conn, error) // what a jump host connects to

	mu    sync.Mutex
	ran   []string
	sent  []byte // everything on standard inputs
	auth  int    // logins tried
	conns []net.Conn

	ended chan struct{} // closed when what outlived its connection is over; nil: nothing does
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listen starts one for a user with a key.
func listen(t *testing.T, user string, key ssh.PublicKey) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listenOn(t, ln, user, key)
}

func listenOn(t *testing.T, ln net.Listener, user string, key ssh.PublicKey) *server {
	t.Helper()
	s := &server{t: t, ln: ln, host: newKey(t), user: user, key: key}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			go s.serve(c)
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return s
}

func (s *server) hostKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.host.PublicKey())))
}

func (s *server) serve(c net.Conn) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.mu.Lock()
		s.auth++
		s.mu.Unlock()
		if m.User() != s.user || string(key.Marshal()) != string(s.key.Marshal()) {
			return nil, io.EOF
		}
		return nil, nil
	}}
	s.mu.Lock()
	config.AddHostKey(s.host)
	s.mu.Unlock()
	_, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		switch {
		case nc.ChannelType() == "direct-tcpip" && s.dialFrom != nil:
			s.forward(nc)
		case nc.ChannelType() == "session":
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go s.session(ch, reqs)
		default:
			_ = nc.Reject(ssh.Prohibited, "no")
		}
	}
}

func (s *server) forward(nc ssh.NewChannel) {
	var to struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}
	_ = ssh.Unmarshal(nc.ExtraData(), &to)
	out, err := s.dialFrom(to.Host)
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	go func() { _, _ = io.Copy(ch, out); _ = ch.Close() }()
	go func() { _, _ = io.Copy(out, ch); _ = out.Close() }()
}

func (s *server) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for r := range reqs {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		var c struct{ Command string }
		_ = ssh.Unmarshal(r.Payload, &c)
		_ = r.Reply(true, nil)
		s.mu.Lock()
		s.ran = append(s.ran, c.Command)
		s.mu.Unlock()
		status := s.command(c.Command, io.TeeReader(ch, writer(func(p []byte) {
			s.mu.Lock()
			s.sent = append(s.sent, p...)
			s.mu.Unlock()
		})), ch)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		return
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
