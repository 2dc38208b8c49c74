//go:build openstack

package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

const nightPlan = `service = %q
home    = "IAD"
regions = ["ORD"]

cloud "main" {
  openstack { cloud = "rig" }
}

secrets "sealed" {
  age {
    file     = "secrets.age"
    identity = "identity.txt"
  }
}

secrets "manager" {
  barbican { cloud = cloud.main }
}

certificate "edge" {
  from  = [secrets.manager, secrets.sealed]
  path  = { manager = %[2]q, sealed = "edge" }
  names = [%[2]q]
  ca    = file("ca.pem")
}

server "collector" {
  cloud        = cloud.main
  image        = "debian"
  flavor       = ["large", "small"]
  zones        = ["real"]
  networks     = ["public"]
  config_drive = true
  template     = "tls-proxy"
  certificate  = certificate.edge
  timeout      = "4m"
  ready {
    https  = "https://%[2]s/health"
    within = "4m"
  }
}

dns "public" {
  zone         = "rig.test"
  name_servers = [%[3]q]
  designate { cloud = cloud.main }
  record "collector" {
    name = %[4]q
    type = "A"
    ttl  = 30
    to   = server.collector
  }
}
`

// homeAddress is where the service lives when all is well: an address of the namespace.
const homeAddress = "127.0.1.10"

// night is a service with a certificate, its home, and its clients.
type night struct {
	desk
	clients  *http.Client // they trust the CA, and ask the name server
	key      []byte       // the private one, which must be found nowhere
	chain    []byte
	ca       *sandbox.CA
	home     *http.Server
	openHome func()
}

// service at home: the plan, the sealed certificate, the record, and a server of the namespace that answers.
func atHome(t *testing.T) *night {
	t.Helper()
	n := &night{desk: sit(t, plan{})}
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue(n.record)
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	n.key, n.chain, n.ca = key, chain, ca
	for name, text := range map[string]string{"ca.pem": string(ca.PEM()), "chain.pem": string(chain), "key.pem": string(key), "identity.txt": id.String() + "\n",
		"failover.hcl": fmt.Sprintf(nightPlan, n.service, n.record, here.dns, strings.TrimSuffix(n.record, "."+here.zone))} {
		n.write(name, text)
	}
	login(t, here.cloud).keep(n.record, chain, key)
	n.done("seal", "edge", "--cert", "chain.pem", "--key", "key.pem", "-r", id.Recipient().String(), "-o", "secrets.age")

	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	n.openHome = func() {
		t.Helper()
		l, err := tls.Listen("tcp", homeAddress+":443", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		n.home = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "home") })}
		go func() { _ = n.home.Serve(l) }()
	}
	n.openHome()
	t.Cleanup(func() { _ = n.home.Close() })

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	n.clients = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			var d net.Dialer
			return d.DialContext(ctx, network, net.JoinHostPort(dig(n.record), port))
		}}}
	return n
}

// get is a client's request, by the public name.
func (n *night) get() error {
	resp, err := n.clients.Get("https://" + n.record + "/health")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("%s answers %s", n.record, resp.Status)
	}
	return nil
}

func (n *night) serves(where string) {
	n.Helper()
	if err := n.get(); err != nil {
		n.Errorf("%s: a client gets %v", where, err)
	}
}

// from is where the certificate of the run came from.
func (n *night) from(place string) {
	n.Helper()
	for _, e := range n.events() {
		if e.Type == provision.StepDone && e.Kind == "certificate.fetch" {
			if got := e.Out.Text("source"); !strings.HasSuffix(place, got) || got == "" {
				n.Errorf("the certificate came from %q, want %s", got, place)
			}
			return
		}
	}
	n.Error("no certificate was fetched")
}

// renew puts another certificate with another key into the places of the plan, and has it delivered to the server.
func (n *night) renew(address string) {
	n.Helper()
	chain, key, err := n.ca.Issue(n.record)
	if err != nil {
		n.Fatal(err)
	}
	n.write("chain2.pem", string(chain))
	n.write("key2.pem", string(key))
	n.done("seal", "edge", "--cert", "chain2.pem", "--key", "key2.pem", "-i", "identity.txt", "-o", "secrets.age")
	plan, err := os.ReadFile(filepath.Join(n.dir, "failover.hcl"))
	if err != nil {
		n.Fatal(err)
	}
	n.write("failover.hcl", strings.Replace(string(plan), "from  = [secrets.manager, secrets.sealed]", "from  = [secrets.sealed, secrets.manager]", 1))
	r := n.done("deliver", "--yes")
	n.Logf("the renewal took %.1f s", r.took.Seconds())
	n.write("failover.hcl", string(plan))
	leaf, _ := pem.Decode(chain)
	c, err := tls.Dial("tcp", net.JoinHostPort(address, "443"), &tls.Config{ServerName: n.record, RootCAs: n.clients.Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		n.Fatal(err)
	}
	defer c.Close()
	if !bytes.Equal(c.ConnectionState().PeerCertificates[0].Raw, leaf.Bytes) {
		n.Error("the server presents the former certificate")
	}
}

// presented are the host keys that an address shows.
func presented(t *testing.T, address string) []string {
	t.Helper()
	var out []string
	for _, algorithm := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256} {
		conf := &ssh.ClientConfig{User: "nobody", HostKeyAlgorithms: []string{algorithm}, Timeout: 10 * time.Second,
			HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
				out = append(out, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))))
				return fmt.Errorf("seen")
			}}
		if c, err := ssh.Dial("tcp", address+":22", conf); err == nil {
			c.Close()
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s presents no host key", address)
	}
	return out
}

// pinned are the host keys that the run took from the console.
func (d desk) pinned() []string {
	for _, e := range d.events() {
		if e.Type == provision.StepDone && e.Kind == "console.hostkeys" {
			return e.Out.List("host_keys")
		}
	}
	d.Fatal("no host key was taken from the console")
	return nil
}

// The night that all this is for. IAD is killed with the service in it; a real server is booted in ORD, gets the
// certificate and proves itself, and the name goes there; then IAD is back, and so is the name.
func TestNight(t *testing.T) {
	cloud(t)
	onRealHost(t)
	a := admin(t)
	n := atHome(t)
	login(t, here.cloud).record(n.record, 300, homeAddress)
	n.serves("home, in good times")
	before := a.world()

	away(t, "kill", "IAD")
	_ = n.home.Close()
	if n.get() == nil {
		t.Fatal("home answers although it is dead")
	}
	n.done("--region", "ORD", "--dry-run")
	r := n.done("--region", "ORD", "--yes")
	t.Logf("the night took %.1f s", r.took.Seconds())
	n.times()
	n.from("secrets.manager")
	address := n.addresses()[0]
	served(t, n.record, address)
	n.serves("ORD, after the night")

	// The key that was pinned is the console's, and the server's own.
	run := n.runID()
	servers := a.servers(run)
	if len(servers) != 1 {
		t.Fatalf("%d servers", len(servers))
	}
	console := a.must(a.compute, "POST", "servers/"+servers[0].text("id")+"/action", object{"os-getConsoleOutput": object{}}).text("output")
	shown := presented(t, address)
	for _, key := range n.pinned() {
		if !strings.Contains(console, key) {
			t.Errorf("the console does not show %s", key)
		}
	}
	for _, key := range shown {
		if !strings.Contains(strings.Join(n.pinned(), "\n"), key) {
			t.Errorf("the server presents %s, pinned are %s", key, n.pinned())
		}
	}
	// The private key went over SSH and nowhere else.
	data, err := base64.StdEncoding.DecodeString(servers[0].text("OS-EXT-SRV-ATTR:user_data"))
	if err != nil || len(data) == 0 {
		t.Errorf("user-data: %v, %d bytes", err, len(data))
	}
	secret := strings.Split(string(n.key), "\n")[1]
	for what, text := range map[string]string{"user-data": string(data), "metadata": fmt.Sprint(servers[0]), "the console": console, "the output": r.out + r.errs, "the journal": n.journals()} {
		if strings.Contains(text, secret) || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("the private key is in %s", what)
		}
	}

	n.renew(address)
	n.serves("ORD, after the renewal")

	// Home is not well yet: the way back waits for it, and nothing changes meanwhile.
	p := n.start("back", "--remove", "--yes")
	wait(t, "home to be asked", 10*time.Second, func() bool { return strings.Contains(p.out.String()+p.errs.String(), "connection refused") })
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := p.wait(); r.code != 4 {
		t.Errorf("^C while home is asked: exit %d\n%s\n%s", r.code, r.out, r.errs)
	}
	served(t, n.record, address)
	service(t, "start", "IAD")
	n.openHome()
	r = n.done("resume")
	t.Logf("the way back took %.1f s", r.took.Seconds())
	n.times()
	served(t, n.record, homeAddress)
	n.serves("home, after the way back")
	if left := a.servers(run); len(left) != 0 {
		t.Errorf("%d servers are left", len(left))
	}
	a.unchanged(before)
}

// Somebody else answers at the new server's address. Nothing is sent to them, and the name stays; when they are gone,
// the run goes on. Home hangs meanwhile.
func TestImpostor(t *testing.T) {
	cloud(t)
	onRealHost(t)
	a := admin(t)
	n := atHome(t)
	login(t, here.cloud).record(n.record, 30, homeAddress)
	before := a.world()
	away(t, "hang", "IAD")
	p := n.start("--region", "ORD", "--yes")
	p.until("step.done", "server.create", 1)
	address := n.addresses()[0]
	tried := impostor(t, address)
	r := p.wait()
	if r.code != 1 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.errs)
	}
	r.says(t, "the server presents another host key than its console shows")
	if n := tried.Load(); n != 0 {
		t.Errorf("the impostor was sent %d logins", n)
	}
	served(t, n.record, homeAddress)

	exec.Command("ip", "address", "del", address+"/32", "dev", "lo").Run()
	p = n.start("resume")
	p.until("step.intent", "certificate.deliver", n.count("step.intent", "certificate.deliver")+1)
	p.kill() // in the middle of the delivery
	n.done("resume")
	n.times()
	served(t, n.record, address)
	n.serves("ORD, after the impostor")
	n.done("abandon", "--yes")
	served(t, n.record, homeAddress)
	a.unchanged(before)
}

// impostor takes an address over, with an SSH server that lets everybody in and counts who tries.
func impostor(t *testing.T, address string) *atomic.Int32 {
	t.Helper()
	if out, err := exec.Command("ip", "address", "add", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "address", "del", address+"/32", "dev", "lo").Run() })
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int32
	conf := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		tried.Add(1)
		return nil, nil
	}}
	conf.AddHostKey(signer)
	l, err := net.Listen("tcp", address+":22")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _, _, _ = ssh.NewServerConn(c, conf)
			}()
		}
	}()
	return &tried
}
