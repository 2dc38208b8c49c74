package sandbox

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/ssh"
)

// fast is a sandbox whose servers boot in a blink.
func fast() Options {
	return Options{Boot: 60 * time.Millisecond, SSHDelay: 30 * time.Millisecond, DNSDelay: 40 * time.Millisecond,
		Zones: []Zone{{Name: "dripstat.test.", Records: []Record{
			{Name: "collector.dripstat.test.", Type: "A", TTL: 300, Values: []string{"203.0.113.10"}},
			{Name: "www.dripstat.test.", Type: "CNAME", TTL: 60, Values: []string{"collector.dripstat.test."}},
			{Name: "txt.dripstat.test.", Type: "TXT", TTL: 60, Values: []string{`"v=1 a"`}},
		}}},
		HomeServers: map[string][]string{"IAD": {"203.0.113.10"}},
	}
}

func start(t testing.TB, o Options, faults ...string) *Cloud {
	t.Helper()
	for _, f := range faults {
		p, err := ParseFault(f)
		if err != nil {
			t.Fatal(err)
		}
		o.Faults = append(o.Faults, p)
	}
	c, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// login authenticates as a user of clouds.yaml would.
func login(t testing.TB, c *Cloud) *gophercloud.ProviderClient {
	t.Helper()
	var doc struct {
		Clouds map[string]struct{ Auth map[string]string }
	}
	if err := yaml.Unmarshal(c.CloudsYAML(), &doc); err != nil {
		t.Fatal(err)
	}
	a := doc.Clouds["sandbox"].Auth
	ao := gophercloud.AuthOptions{IdentityEndpoint: a["auth_url"], Username: a["username"], Password: a["password"],
		DomainName: a["user_domain_name"], TenantName: a["project_name"], AllowReauth: true}
	p := must[*gophercloud.ProviderClient](t)(openstack.NewClient(ao.IdentityEndpoint))
	p.HTTPClient = http.Client{Transport: &http.Transport{}}
	if c.opts.InMemory {
		p.HTTPClient.Transport = c.RoundTripper()
	}
	t.Cleanup(p.HTTPClient.CloseIdleConnections)
	if err := openstack.Authenticate(t.Context(), p, ao); err != nil {
		t.Fatal(err)
	}
	return p
}

type client struct {
	t      testing.TB
	c      *Cloud
	region string

	nova, glance, neutron, designate *gophercloud.ServiceClient
}

func connect(t testing.TB, c *Cloud, region string) *client {
	t.Helper()
	p := login(t, c)
	eo := gophercloud.EndpointOpts{Region: region}
	cl := &client{t: t, c: c, region: region}
	var err [4]error
	cl.nova, err[0] = openstack.NewComputeV2(p, eo)
	cl.glance, err[1] = openstack.NewImageV2(p, eo)
	cl.neutron, err[2] = openstack.NewNetworkV2(p, eo)
	cl.designate, err[3] = openstack.NewDNSV2(p, eo)
	if e := errors.Join(err[:]...); e != nil {
		t.Fatal(e)
	}
	cl.nova.Microversion = "2.79"
	return cl
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (cl *client) flavor(name string) string {
	cl.t.Helper()
	pages, err := flavors.ListDetail(cl.nova, nil).AllPages(cl.t.Context())
	if err != nil {
		cl.t.Fatal(err)
	}
	list, _ := flavors.ExtractFlavors(pages)
	for _, f := range list {
		if f.Name == name {
			return f.ID
		}
	}
	cl.t.Fatalf("no flavor %s", name)
	return ""
}

func (cl *client) image(name string) string {
	cl.t.Helper()
	pages, err := images.List(cl.glance, images.ListOpts{Name: name}).AllPages(cl.t.Context())
	if err != nil {
		cl.t.Fatal(err)
	}
	list, err := images.ExtractImages(pages)
	if err != nil || len(list) != 1 {
		cl.t.Fatal(list, err)
	}
	return list[0].ID
}

func (cl *client) network(name string) string {
	cl.t.Helper()
	pages, err := networks.List(cl.neutron, networks.ListOpts{Name: name}).AllPages(cl.t.Context())
	if err != nil {
		cl.t.Fatal(err)
	}
	list, err := networks.ExtractNetworks(pages)
	if err != nil || len(list) != 1 {
		cl.t.Fatal(list, err)
	}
	return list[0].ID
}

func (cl *client) opts(name string) servers.CreateOpts {
	return servers.CreateOpts{Name: name, FlavorRef: cl.flavor("m1.small"), ImageRef: cl.image("debian-12"),
		Networks: []servers.Network{{UUID: cl.network("public")}}, Tags: []string{"failover", "run-1"}, Metadata: map[string]string{"slot": name}}
}

func (cl *client) try(o servers.CreateOpts, key string) (*servers.Server, error) {
	return servers.Create(cl.t.Context(), cl.nova, keypairs.CreateOptsExt{CreateOptsBuilder: o, KeyName: key}, nil).Extract()
}

func (cl *client) create(o servers.CreateOpts, key string) *servers.Server {
	cl.t.Helper()
	s, err := cl.try(o, key)
	if err != nil {
		cl.t.Fatal(err)
	}
	return s
}

func (cl *client) get(id string) *servers.Server {
	cl.t.Helper()
	return must[*servers.Server](cl.t)(servers.Get(cl.t.Context(), cl.nova, id).Extract())
}

func (cl *client) until(what string, ok func() bool) {
	cl.t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			cl.t.Fatal("never: " + what)
		}
	}
}

func (cl *client) wait(id, status string) *servers.Server {
	cl.t.Helper()
	var s *servers.Server
	cl.until(status, func() bool { s = cl.get(id); return s.Status == status })
	return s
}

func (cl *client) console(id string) string {
	cl.t.Helper()
	return must[string](cl.t)(servers.ShowConsoleOutput(cl.t.Context(), cl.nova, id, servers.ShowConsoleOutputOpts{}).Extract())
}

// hostKeys waits for the keys on the console.
func (cl *client) hostKeys(id string) []ssh.PublicKey {
	cl.t.Helper()
	var out string
	cl.until("host keys on the console", func() bool {
		out = cl.console(id)
		return strings.Contains(out, "-----END SSH HOST KEY KEYS-----\r\n")
	})
	_, out, _ = strings.Cut(out, "-----BEGIN SSH HOST KEY KEYS-----\r\n")
	out, _, _ = strings.Cut(out, "-----END")
	return parseKeys(strings.Split(out, "\r\n"))
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	return must[ssh.Signer](t)(ssh.NewSignerFromKey(k))
}

func public(k ssh.Signer) string { return string(ssh.MarshalAuthorizedKey(k.PublicKey())) }

func (cl *client) key(name string) ssh.Signer {
	cl.t.Helper()
	k := newKey(cl.t)
	_, err := keypairs.Create(cl.t.Context(), cl.nova, keypairs.CreateOpts{Name: name, PublicKey: public(k)}).Extract()
	if err != nil {
		cl.t.Fatal(err)
	}
	return k
}

func addr(s *servers.Server, network string) string {
	list, _ := s.Addresses[network].([]any)
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1].(map[string]any)["addr"].(string)
}

var errHostKey = errors.New("host key is not on the console")

func sshTo(t testing.TB, dial func(context.Context, string, string) (net.Conn, error), host, user string, key ssh.Signer, known []ssh.PublicKey) (*ssh.Client, error) {
	conn, err := dial(t.Context(), "tcp", host+":22")
	if err != nil {
		return nil, err
	}
	sc, chans, reqs, err := ssh.NewClientConn(conn, host+":22", &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			if slices.ContainsFunc(known, func(p ssh.PublicKey) bool { return bytes.Equal(p.Marshal(), k.Marshal()) }) {
				return nil
			}
			return errHostKey
		}})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(sc, chans, reqs), nil
}

func command(t testing.TB, c *ssh.Client, line string, stdin []byte) (out string, status int) {
	t.Helper()
	s := must[*ssh.Session](t)(c.NewSession())
	defer s.Close()
	var o, e bytes.Buffer // one for both would be filled by two goroutines
	s.Stdin, s.Stdout, s.Stderr = bytes.NewReader(stdin), &o, &e
	err := s.Run(line)
	if x := (*ssh.ExitError)(nil); errors.As(err, &x) {
		return o.String() + e.String(), x.ExitStatus()
	}
	if err != nil {
		t.Fatal(err)
	}
	return o.String() + e.String(), 0
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func receive(path, owner, mode string, content []byte) string {
	return fmt.Sprintf("sudo -n sh -c %s sh %s %s %s 077 - file %d %x", quote(ReceiveScript), quote(path), owner, mode, len(content), sha256.Sum256(content))
}

func get(t testing.TB, c *Cloud, ca *CA, ip, name string) (*http.Response, string, error) {
	t.Helper()
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: name},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return c.Dial(ctx, network, ip+":443") }}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Get("https://" + name + "/health")
	if err != nil {
		return nil, "", err
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r, string(b), nil
}

// TestWholePath is the tool's own way: create, boot, read the console, log in,
// deliver a certificate, and see it served.
func TestWholePath(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	key := cl.key("run-1")
	ca := must[*CA](t)(NewCA())
	cert, priv, err := ca.Issue("collector.dripstat.test")
	if err != nil {
		t.Fatal(err)
	}
	s := cl.create(cl.opts("collector-1"), "run-1")
	if got := cl.get(s.ID); got.Status != "BUILD" || got.TaskState != "scheduling" || len(got.Addresses) != 0 {
		t.Errorf("just created: %s %s %v", got.Status, got.TaskState, got.Addresses)
	}
	s = cl.wait(s.ID, "ACTIVE")
	ip := addr(s, "public")
	if !strings.HasPrefix(ip, fmt.Sprintf("127.%d.", c.base)) || s.HostID == "" || *s.Tags == nil || s.Metadata["slot"] != "collector-1" {
		t.Errorf("active: %+v", s)
	}
	known := cl.hostKeys(s.ID)
	if len(known) != 2 {
		t.Fatalf("keys: %v", known)
	}
	if _, err := c.Dial(t.Context(), "tcp", ip+":443"); err == nil {
		t.Error("443 is open before a certificate is there")
	}
	if _, err := sshTo(t, c.Dial, ip, "debian", newKey(t), known); err == nil {
		t.Error("a stranger's key logs in")
	}
	sc := must[*ssh.Client](t)(sshTo(t, c.Dial, ip, "debian", key, known))
	defer sc.Close()
	if out, _ := command(t, sc, "id -u", nil); out != "1000\n" {
		t.Error(out)
	}
	if out, _ := command(t, sc, "sudo -n id -u", nil); out != "0\n" {
		t.Error(out)
	}
	pem := append(slices.Clone(cert), priv...)
	const path = "/run/failover/edge it's.pem"
	if out, status := command(t, sc, strings.TrimPrefix(receive(path, "root:root", "0600", pem), "sudo -n "), pem); status != 1 {
		t.Error("without sudo:", out, status)
	}
	if out, status := command(t, sc, receive(path, "haproxy:haproxy", "0600", pem), pem); status != 0 {
		t.Fatal(out, status)
	}
	if out, _ := command(t, sc, "sudo -n sha256sum "+quote(path), nil); out != fmt.Sprintf("%x  %s\n", sha256.Sum256(pem), path) {
		t.Error(out)
	}
	if out, status := command(t, sc, "cat "+quote(path), nil); status != 1 || !strings.Contains(out, "Permission denied") {
		t.Error(out, status)
	}
	if out, status := command(t, sc, "sudo -n systemctl reload-or-restart haproxy", nil); status != 0 {
		t.Error(out, status)
	}
	if out, status := command(t, sc, "systemctl is-active haproxy.service", nil); status != 0 || out != "active\n" {
		t.Error(out, status)
	}
	if _, status := command(t, sc, "test -e /nope", nil); status != 1 {
		t.Error(status)
	}
	if out, status := command(t, sc, "sh -c 'rm -rf /'", nil); status != 127 {
		t.Error(out, status)
	}
	r, body, err := get(t, c, ca, ip, "collector.dripstat.test")
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != 200 || r.Header.Get("X-Served-By") != "collector-1" || body != "collector-1 in ORD serves /health\n" || r.ProtoMajor != 2 {
		t.Error(r.Proto, r.Status, r.Header, body)
	}
	if _, _, err := get(t, c, ca, ip, "other.dripstat.test"); err == nil {
		t.Error("a certificate for another name verifies")
	}
	data, mode, owner, err := c.ReadFile(s.ID, path)
	if err != nil || !bytes.Equal(data, pem) || mode != 0o600 || owner != "haproxy:haproxy" {
		t.Error(mode, owner, err)
	}
	if c.Writes() != 2 {
		t.Errorf("%d writes, want the key pair and the server", c.Writes())
	}
	if err := servers.Delete(t.Context(), cl.nova, s.ID).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Dial(t.Context(), "tcp", ip+":443"); err == nil {
		t.Error("a deleted server answers")
	}
	cl.until("404", func() bool {
		_, err := servers.Get(t.Context(), cl.nova, s.ID).Extract()
		return gophercloud.ResponseCodeIs(err, 404)
	})
	if n := len(c.Snapshot().Ports); n != 0 {
		t.Errorf("%d ports outlive their server", n)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	c := must[*Cloud](t)(Start(t.Context(), fast()))
	cl := connect(t, c, "ORD")
	key := cl.key("k")
	s := cl.wait(cl.create(cl.opts("a"), "k").ID, "ACTIVE")
	known := cl.hostKeys(s.ID)
	sc := must[*ssh.Client](t)(sshTo(t, c.Dial, addr(s, "public"), "root", key, known))
	var addrs []string
	for h := range c.Handlers() {
		addrs = append(addrs, h)
	}
	addrs = append(addrs, c.NameServer())
	c.Close()
	c.Close()
	sc.Close()
	http.DefaultClient.CloseIdleConnections()
	for _, a := range addrs {
		if conn, err := net.Dial("tcp", a); err == nil {
			conn.Close()
			t.Errorf("%s still listens", a)
		}
	}
	n := 0
	for range 200 {
		if n = runtime.NumGoroutine(); n <= before+2 { // gophercloud's idle connections notice by themselves
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, were %d\n%s", n, before, buf[:runtime.Stack(buf, true)])
}
