package sandbox

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// machine is the computer behind a server: its files, its users, its keys and
// what listens on it. It comes to life when somebody looks at it (the console,
// a connection), so that a server that nobody visits costs nothing.
//
// Its mutex is taken with the cloud's held, never the other way round.
type machine struct {
	c    *Cloud
	s    *server
	liar bool // prints other host keys than it has

	mu       sync.Mutex
	alive    bool
	stopped  bool
	hostKeys []ssh.Signer
	printed  []ssh.PublicKey
	said     []string // on the console, after the host keys
	users    map[string][]ssh.PublicKey
	files    map[string]*file
	certs    []*loadedCert
	units    map[string]bool // systemd units that exist
	badPEM   string          // path of the last .pem that held no chain and key
	ln       map[string]net.Listener
	web      []*http.Server
	conns    map[net.Conn]bool
	ill      int // HTTP status that every request gets; 0: it is well
}

type file struct {
	data  []byte
	owner string
	group string
	mode  os.FileMode
}

type loadedCert struct {
	path string
	cert *tls.Certificate
}

func newMachine(c *Cloud, s *server) *machine {
	return &machine{c: c, s: s, users: map[string][]ssh.PublicKey{}, files: map[string]*file{},
		units: map[string]bool{"ssh": true, "sshd": true, "haproxy": true}, ln: map[string]net.Listener{}, conns: map[net.Conn]bool{}}
}

func newHostKeys() []ssh.Signer {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a, _ := ssh.NewSignerFromKey(ec)
	b, _ := ssh.NewSignerFromKey(ed)
	return []ssh.Signer{a, b}
}

// wake does what cloud-init does on the first boot. The caller holds m.mu.
func (m *machine) wake() {
	if m.alive {
		return
	}
	m.alive = true
	logins := slices.Compact([]string{"root", "debian", m.s.bootImage.DefaultUser})
	for _, u := range logins {
		m.users[u] = nil
	}
	var keys []string
	if m.s.key != nil {
		keys = append(keys, m.s.key.public)
	}
	cfg := parseUserData(m.s.userData)
	keys = append(keys, cfg.keys...)
	for _, u := range logins {
		m.authorize(u, keys)
	}
	for _, u := range cfg.users {
		m.authorize(u.name, u.keys)
	}
	for _, f := range cfg.files {
		m.write(f.path, f.data, f.owner, f.mode)
		if u, ok := strings.CutPrefix(f.path, "/etc/systemd/system/"); ok {
			m.units[u] = true
		}
	}
	if cfg.pull != nil {
		m.c.wg.Go(func() { m.pull(cfg.pull) })
	}
	m.hostKeys = cfg.hostKeys
	if m.hostKeys == nil {
		m.hostKeys = newHostKeys()
	}
	if m.liar && m.c.opts.Rackspace != nil { // there is no console to lie on: it is another machine than the one that was asked for
		m.hostKeys = newHostKeys()
	}
	shown := m.hostKeys
	if m.liar {
		shown = newHostKeys()
	}
	for _, k := range shown {
		m.printed = append(m.printed, k.PublicKey())
	}
}

func (m *machine) authorize(user string, keys []string) {
	m.users[user] = append(m.users[user], parseKeys(keys)...)
}

func parseKeys(lines []string) (keys []ssh.PublicKey) {
	for _, l := range lines {
		if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l)); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

func (m *machine) consoleKeys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
	lines := []string{"-----BEGIN SSH HOST KEY KEYS-----"}
	for _, k := range m.printed {
		lines = append(lines, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))+" root@"+m.s.hostname())
	}
	return append(lines, "-----END SSH HOST KEY KEYS-----")
}

// write puts a file in place and loads it when it is a certificate with its key.
// The caller holds m.mu.
func (m *machine) write(path string, data []byte, owner string, mode os.FileMode) {
	m.put(path, data, owner, mode)
	if strings.HasSuffix(path, ".pem") {
		m.load(path, data)
	}
}

// put is write of what is no certificate by itself.
func (m *machine) put(path string, data []byte, owner string, mode os.FileMode) {
	user, group, _ := strings.Cut(owner, ":")
	if user == "" {
		user = "root"
	}
	if group == "" {
		group = user
	}
	m.files[path] = &file{slices.Clone(data), user, group, mode}
}

// track remembers a connection so that it dies with the machine; it says no
// when the machine is already gone.
func (m *machine) track(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return false
	}
	m.conns[conn] = true
	return true
}

func (m *machine) untrack(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, conn)
}

// drop cuts all connections.
func (m *machine) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		conn.Close()
	}
	clear(m.conns)
}

// stop is the power switch.
func (m *machine) stop() {
	m.drop()
	m.mu.Lock()
	m.stopped = true
	for _, l := range m.ln {
		l.Close()
	}
	clear(m.ln)
	web := m.web
	m.web = nil
	m.mu.Unlock()
	for _, srv := range web {
		srv.Close()
	}
}

// opens tells that a security group of the server lets somebody in on a port by name. The software that its user-data sets up
// is taken to listen there. The caller holds the cloud's mutex.
func (m *machine) opens(port string) bool {
	for _, name := range m.s.secgroups {
		g := m.c.secGroupByName(m.s.region, name)
		if g == nil {
			continue
		}
		for _, r := range g.rules {
			if r.direction == "ingress" && r.protocol != nil && *r.protocol == "tcp" && r.portMin != nil && strconv.Itoa(*r.portMin) == port {
				return true
			}
		}
	}
	return false
}

// answers tells whether something listens on a port: sshd, TLS once there is a certificate, and plain HTTP on any other port
// that is open. Port 80 of a server that has TLS is its redirect, which is not imitated.
func (m *machine) answers(port string) bool {
	if m.c.opts.Rackspace != nil && port != "22" && port != "443" && len(m.certs) == 0 {
		return true // no firewall stands before it, and what its user-data sets up is taken to listen there
	}
	switch port {
	case "22":
		return true
	case "443":
		return len(m.certs) > 0
	case "80":
		return len(m.certs) == 0 && !m.opens("443") && m.opens("80")
	}
	return m.opens(port)
}

// listener returns what listens on a port of the machine, opening it at first
// use; nil means that nothing does. The caller holds the cloud's mutex.
func (m *machine) listener(port, ip string) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
	if m.stopped || !m.answers(port) {
		return nil
	}
	if l := m.ln[port]; l != nil {
		return l
	}
	l := m.c.openAt(ip, port) // a private address: only a jump host or a load balancer comes here
	if l == nil {
		return nil
	}
	m.ln[port] = l
	if port == "22" {
		m.c.wg.Go(func() { m.serveSSH(l) })
	} else {
		m.serve(l, len(m.certs) > 0)
	}
	return l
}

// ReadFile returns a file of a server's disk, with its mode and its owner as
// user:group. Tests use it to see that a key is there, and where it is not.
func (c *Cloud) ReadFile(serverID, path string) (data []byte, mode os.FileMode, owner string, err error) {
	c.mu.Lock()
	s := c.servers[serverID]
	c.mu.Unlock()
	if s == nil {
		return nil, 0, "", errors.New("sandbox: no such server")
	}
	m := s.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
	f := m.files[path]
	if f == nil {
		return nil, 0, "", os.ErrNotExist
	}
	return slices.Clone(f.data), f.mode, f.owner + ":" + f.group, nil
}

// Ail lets the services on servers of a name answer with an HTTP status only, from now on; 0 heals them.
func (c *Cloud) Ail(name string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.servers {
		if s.name == name {
			s.machine.mu.Lock()
			s.machine.ill = status
			s.machine.mu.Unlock()
		}
	}
}
