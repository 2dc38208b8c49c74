package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/miekg/dns"
	"golang.org/x/crypto/ssh"
)

func gz(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

func TestUserData(t *testing.T) {
	host := newKey(t)
	config := `#cloud-config
ssh_authorized_keys: [` + `"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRhdGEtb2YtYS1rZXktdGhhdC1pcy1ub3QtcmVhbC4u x"` + `]
users:
  - default
  - name: ops
    ssh_authorized_keys: ["` + strings.TrimSpace(public(host)) + `"]
write_files:
  - path: /etc/a
    content: hello
    permissions: '0640'
    owner: root:adm
  - {path: /etc/b, encoding: gz+b64, content: ` + base64.StdEncoding.EncodeToString(gz("packed")) + `}
  - {path: /etc/c, permissions: 0600, content: x}
`
	var mixed bytes.Buffer
	w := multipart.NewWriter(&mixed)
	for kind, body := range map[string]string{"text/x-shellscript": "#!/bin/sh\n", "text/cloud-config": config} {
		p, _ := w.CreatePart(textproto.MIMEHeader{"Content-Type": {kind}, "Content-Transfer-Encoding": {"base64"}})
		p.Write([]byte(base64.StdEncoding.EncodeToString([]byte(body))))
	}
	w.Close()
	for name, data := range map[string][]byte{
		"plain": []byte(config),
		"gzip":  gz(config),
		"mime":  []byte("Content-Type: multipart/mixed; boundary=" + w.Boundary() + "\nMIME-Version: 1.0\n\n" + mixed.String()),
	} {
		cfg := parseUserData(data)
		if len(cfg.keys) != 1 || len(cfg.users) != 1 || cfg.users[0].name != "ops" || len(cfg.files) != 3 {
			t.Errorf("%s: %+v", name, cfg)
			continue
		}
		if f := cfg.files[0]; string(f.data) != "hello" || f.mode != 0o640 || f.owner != "root:adm" {
			t.Errorf("%s: %+v", name, f)
		}
		if f := cfg.files[1]; string(f.data) != "packed" || cfg.files[2].mode != 0o600 {
			t.Errorf("%s: %+v", name, cfg.files)
		}
	}
	for _, junk := range []string{"", "#!/bin/sh\n", "\x1f\x8bjunk", "#cloud-config\n: : :", "Content-Type: multipart/mixed\n\nx"} {
		parseUserData([]byte(junk))
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		`true`: `["true"]`, ` a  b `: `["a","b"]`, `'a b' "c d" e\ f`: `["a b","c d","e f"]`, `'it'\''s' ''`: `["it's",""]`,
		`"a\"b\c"`: `["a\"b\\c"]`, ``: `null`,
	} {
		got, err := words(in)
		if b, _ := json.Marshal(got); string(b) != want || err != nil {
			t.Errorf("%q: %s %v, want %s", in, b, err, want)
		}
	}
	for _, in := range []string{`'a`, `"a`, `a; b`, `a $(b)`, `a > b`} {
		if got, err := words(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestJumpHost reaches a server that has only a private address through one that
// has both, and a certificate that came by user-data is served.
func TestJumpHost(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	key := cl.key("k")
	jump := cl.opts("jump")
	nets := []servers.Network{{UUID: cl.network("public")}, {UUID: cl.network("private")}}
	jump.Networks = nets
	inner := cl.opts("inner")
	inner.Networks = nets[1:]
	inner.UserData = []byte("#cloud-config\nusers:\n  - name: ops\n    ssh_authorized_keys: ['" + strings.TrimSpace(public(key)) + "']\nwrite_files:\n  - {path: /etc/hello, content: hi}\n")
	j, i := cl.wait(cl.create(jump, "k").ID, "ACTIVE"), cl.wait(cl.create(inner, "").ID, "ACTIVE")
	first, err := sshTo(t, c.Dial, addr(j, "public"), "root", key, cl.hostKeys(j.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := sshTo(t, first.DialContext, addr(i, "private"), "ops", key, cl.hostKeys(i.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if out, status := command(t, second, "cat /etc/hello", nil); out != "hi" || status != 0 {
		t.Error(out, status)
	}
	if _, err := first.Dial("tcp", "192.0.2.1:22"); err == nil {
		t.Error("a server reaches the world")
	}
}

func TestConsoleGrows(t *testing.T) {
	o := fast()
	o.SSHDelay = 300 * time.Millisecond
	c := start(t, o)
	cl := connect(t, c, "ORD")
	s := cl.create(cl.opts("collector-1"), "")
	_, err := servers.ShowConsoleOutput(t.Context(), cl.nova, s.ID, servers.ShowConsoleOutputOpts{}).Extract()
	code(t, err, 409, "is not ready")
	cl.wait(s.ID, "ACTIVE")
	early := cl.console(s.ID)
	cl.hostKeys(s.ID)
	late := cl.console(s.ID)
	if !strings.HasPrefix(late, early) || len(late) <= len(early) || strings.Contains(early, "HOST KEY") {
		t.Errorf("%q\n%q", early, late)
	}
	if !strings.Contains(late, "ssh-ed25519 AAAA") || !strings.Contains(late, " root@collector-1\r\n") || !strings.Contains(late, "ecdsa-sha2-nistp256 AAAA") {
		t.Error(late)
	}
	last := must[string](t)(servers.ShowConsoleOutput(t.Context(), cl.nova, s.ID, servers.ShowConsoleOutputOpts{Length: 1}).Extract())
	if last != "collector-1 login: " {
		t.Errorf("%q", last)
	}
}

// TestInMemory runs the whole path in a synctest bubble: half an hour's boot
// takes no time, and no socket is open.
func TestInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := fast()
		o.InMemory, o.Boot, o.DNSDelay = true, 30*time.Minute, time.Minute
		o.TokenTTL = 24 * time.Hour
		c := start(t, o)
		cl := connect(t, c, "ORD")
		key := cl.key("k")
		ca := must[*CA](t)(NewCA())
		cert, priv, err := ca.Issue("collector.dripstat.test")
		if err != nil {
			t.Fatal(err)
		}
		s := cl.create(cl.opts("a"), "k")
		time.Sleep(29 * time.Minute)
		if got := cl.get(s.ID).Status; got != "BUILD" {
			t.Error(got)
		}
		time.Sleep(2 * time.Minute)
		s = cl.get(s.ID)
		ip := addr(s, "public")
		sc := must[*ssh.Client](t)(sshTo(t, c.Dial, ip, "debian", key, cl.hostKeys(s.ID)))
		if out, status := command(t, sc, receive("/run/failover/edge.pem", "root:root", "600", slices.Concat(cert, priv)), slices.Concat(cert, priv)); status != 0 {
			t.Fatal(out)
		}
		if _, body, err := get(t, c, ca, ip, "collector.dripstat.test"); err != nil || body != "a in ORD serves /health\n" {
			t.Error(body, err)
		}
		sc.Close()
		cl.change(ip)
		ask := func() string {
			conn, err := c.Dial(t.Context(), "tcp", c.NameServer())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			m := new(dns.Msg)
			m.SetQuestion("collector.dripstat.test.", dns.TypeA)
			r, _, err := new(dns.Client).ExchangeWithConn(m, &dns.Conn{Conn: conn})
			if err != nil {
				t.Fatal(err)
			}
			return answers(r)
		}
		if got := ask(); got != "300 203.0.113.10" {
			t.Error(got)
		}
		time.Sleep(time.Minute)
		if got := ask(); got != "300 "+ip {
			t.Error(got)
		}
		if r, err := (&http.Client{Transport: c.RoundTripper()}).Get("http://example.com/"); err == nil {
			r.Body.Close()
			t.Error("memory reaches the world")
		}
		c.SetFault(Fault{"region-dark", "ORD:hang"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := c.Dial(ctx, "tcp", ip+":443"); err == nil || ctx.Err() == nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestSingleAddress is life on macOS: servers share 127.0.0.1, the newest that
// listens answers.
func TestSingleAddress(t *testing.T) {
	o := fast()
	o.single = true
	c := start(t, o)
	if !c.SingleAddress() {
		t.Fatal("not single")
	}
	cl := connect(t, c, "ORD")
	key := cl.key("k")
	ca := must[*CA](t)(NewCA())
	cert, priv, err := ca.Issue("collector.dripstat.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		s := cl.wait(cl.create(cl.opts(name), "k").ID, "ACTIVE")
		sc := must[*ssh.Client](t)(sshTo(t, c.Dial, "127.0.0.1", "root", key, cl.hostKeys(s.ID)))
		if out, status := command(t, sc, strings.TrimPrefix(receive("/run/x.pem", "root:root", "600", slices.Concat(cert, priv)), "sudo -n "), slices.Concat(cert, priv)); status != 0 {
			t.Fatal(out)
		}
		sc.Close()
		if _, body, err := get(t, c, ca, "127.0.0.1", "collector.dripstat.test"); err != nil || body != name+" in ORD serves /health\n" {
			t.Error(body, err)
		}
	}
	if got := cl.c.Snapshot().Servers; got[0].Addresses[0] != "127.0.0.1" || got[1].Addresses[0] != "127.0.0.1" {
		t.Errorf("%+v", got)
	}
}

// TestTwoSandboxes share no address.
func TestTwoSandboxes(t *testing.T) {
	a, b := start(t, fast()), start(t, fast())
	if !a.SingleAddress() && a.base == b.base {
		t.Error("both have 127." + fmt.Sprint(a.base))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := a.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal("what is not the sandbox's must pass:", err)
	}
	conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := must[*Cloud](t)(Start(ctx, fast()))
	cancel()
	for end := time.Now().Add(3 * time.Second); c.ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the sandbox outlives its context")
		}
	}
	c.Close()
}
