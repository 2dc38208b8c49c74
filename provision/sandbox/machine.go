package sandbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

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
	users    map[string][]ssh.PublicKey
	files    map[string]*file
	certs    []*loadedCert
	units    map[string]bool // systemd units that exist
	badPEM   string          // path of the last .pem that held no chain and key
	ln       map[string]net.Listener
	https    *http.Server
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
	srv := m.https
	m.https = nil
	m.mu.Unlock()
	if srv != nil {
		srv.Close()
	}
}

// listener returns what listens on a port of the machine, opening it at first
// use; nil means that nothing does.
func (m *machine) listener(port, ip string) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
	if m.stopped || port == "80" || port == "443" && len(m.certs) == 0 {
		return nil
	}
	if l := m.ln[port]; l != nil {
		return l
	}
	var l net.Listener
	if m.c.opts.InMemory {
		l = newMemListener(net.JoinHostPort(ip, port))
	} else {
		if a, err := netip.ParseAddr(ip); err != nil || !a.IsLoopback() {
			ip = "127.0.0.1" // a private address: only a jump host comes here
		}
		var err error
		if l, err = net.Listen("tcp", net.JoinHostPort(ip, "0")); err != nil {
			return nil
		}
	}
	m.ln[port] = l
	if port == "22" {
		m.c.wg.Go(func() { m.serveSSH(l) })
	} else {
		m.serveHTTPS(l)
	}
	return l
}

// Dial connects to a server of the sandbox as if it listened on its own address
// on port 22 or 443, and to its name server on port 53. A server that is not up,
// has no certificate yet, was deleted or is in a dark region refuses, as does
// every address of HomeServers; so does port 80. A private address is
// unreachable: it takes a floating IP, or a jump host. All else goes to a
// net.Dialer.
func (c *Cloud) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.dial(ctx, network, addr, "")
}

// dial is Dial, seen from the inside of a region when one is named.
func (c *Cloud) dial(ctx context.Context, network, addr, inside string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	ip, perr := netip.ParseAddr(host)
	if err != nil || perr != nil {
		return c.dialOut(ctx, network, addr, inside)
	}
	if port == "53" && host == c.nsIP() || c.opts.InMemory && addr == c.dnsAddr {
		if c.opts.InMemory {
			return c.dnsMem.dial()
		}
		return new(net.Dialer).DialContext(ctx, network, c.dnsAddr)
	}
	known := c.owns(ip)
	if !known || port != "22" && port != "80" && port != "443" {
		return c.dialOut(ctx, network, addr, inside)
	}
	c.mu.Lock()
	region := c.regionOf(ip)
	private := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, c.base, 0, 0}), 16).Contains(ip)
	c.mu.Unlock()
	if region != "" {
		if err := c.awaitLight(ctx, region, addr); err != nil {
			if ctx.Err() != nil {
				err = &net.OpError{Op: "dial", Net: network, Err: err}
			}
			return nil, err
		}
	}
	if private && inside != region {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	}
	l := c.target(ip, port, addr)
	if l == nil {
		return nil, refused(network, addr)
	}
	if m, ok := l.(*memListener); ok {
		return m.dial()
	}
	return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
}

func (c *Cloud) dialOut(ctx context.Context, network, addr, inside string) (net.Conn, error) {
	if inside != "" || c.opts.InMemory {
		return nil, refused(network, addr) // servers reach only each other; memory reaches nothing else
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// owns tells whether an address is the sandbox's to answer for.
func (c *Cloud) owns(ip netip.Addr) bool {
	if c.base == 0 {
		if ip == netip.MustParseAddr("127.0.0.1") {
			return true
		}
	} else if a := ip.As16(); ip.Is4() && a[12] == 127 && a[13] == c.base {
		return true
	}
	if ip.Is4() && netip.PrefixFrom(netip.AddrFrom4([4]byte{10, c.base, 0, 0}), 16).Contains(ip) {
		return true
	}
	return c.homeRegion(ip) != ""
}

func (c *Cloud) homeRegion(ip netip.Addr) string {
	for region, list := range c.opts.HomeServers {
		if slices.Contains(list, ip.String()) {
			return region
		}
	}
	return ""
}

func (c *Cloud) regionOf(ip netip.Addr) string {
	if r := c.homeRegion(ip); r != "" {
		return r
	}
	if c.base == 0 {
		return ""
	}
	for _, n := range c.networks {
		if n.cidr.Contains(ip) {
			return n.region
		}
	}
	return ""
}

// target finds the listener of the newest server that has the address.
func (c *Cloud) target(ip netip.Addr, port, addr string) net.Listener {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(now)
	list := c.serverList("")
	slices.Reverse(list)
	for _, s := range list {
		if dark, _ := c.dark(s.region); dark || !s.sshUp(now) {
			continue
		}
		for _, p := range c.ports {
			if p.server != s.id {
				continue
			}
			has := p.ip == ip
			for _, f := range c.fips {
				has = has || f.port == p.id && f.ip == ip
			}
			if has {
				if l := s.machine.listener(port, ip.String()); l != nil {
					return l
				}
			}
		}
	}
	return nil
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
