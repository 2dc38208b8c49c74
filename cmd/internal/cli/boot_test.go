//go:build vault && vm

package cli

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/vault"
	"github.com/dripstat/failover/secrets/vault/vaulttest"
	"github.com/dripstat/failover/templates"
)

// imageFolder holds disk.qcow2, vmlinuz and initrd, as provision/e2e/openstack/image.sh leaves them: a Debian whose cloud-init reads a drive.
const imageFolder = "FAILOVER_VM_IMAGE"

// accelerator is what qemu runs machines by: its own emulation, which is there everywhere; a kvm that is offered need not work.
const accelerator = "FAILOVER_VM_ACCEL"

// bootPlan is what the machines are made by. What it says of the file is told by setup on the console.
const bootPlan = `service = "dripstat"
regions = ["ORD"]
cloud "main" {
  openstack {}
}
secrets "vault" {
  vault {
    address = "https://not.for.servers"
  }
}
certificate "edge" {
  from  = secrets.vault
  path  = "tls/edge"
  names = ["collector.dripstat.test"]
}
server "collector" {
  cloud       = cloud.main
  image       = "debian-12"
  flavor      = "small"
  template    = "tls-proxy"
  certificate = certificate.edge
  vars = {
    upstream = "127.0.0.1:8080"
    service  = "/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv 8080"
    setup    = <<-EOT
      #!/bin/sh
      for n in $(seq 20); do
        [ -e /run/failover/tls/edge.pem ] && break
        sleep 1
      done
      sleep 3
      echo "the file: $(stat -c '%U:%G %a' /run/failover/tls/edge.pem 2>&1)"
      echo "the folder: $(stat -c '%U:%G %a' /run/failover/tls 2>&1), $(stat -f -c %T /run/failover/tls 2>&1)"
      echo "tokens left: $(grep -rlE 'hvs[.]' /var/lib/cloud /var/log | wc -l)"
      echo "the proxy: $(systemctl is-active failover-proxy.service)"
      echo "all is told"
    EOT
  }
  deliver {
    by      = "vault-wrap"
    address = "@ADDRESS@"
    ca      = file("ca.pem")
    owner   = "haproxy"
    mode    = "0640"
    reload  = ["sh", "-c", "echo reloaded by root: $(id -un) >/dev/console"]
  }
  ready {
    https = "https://collector.dripstat.test/health"
  }
}
`

// machine is a real one that boots.
type machine struct {
	t       *testing.T
	console buffer
	port    int // of this machine, that leads to its 443
	cancel  context.CancelFunc
	ended   chan struct{}
}

// boot starts one with user-data on a drive, as nova hands it over.
func boot(t *testing.T, image string, userData []byte) *machine {
	t.Helper()
	dir := t.TempDir()
	drive := filepath.Join(dir, "drive", "openstack", "latest")
	if err := os.MkdirAll(drive, 0o700); err != nil {
		t.Fatal(err)
	}
	const mac = "52:54:00:12:34:56"
	for name, b := range map[string][]byte{
		"user_data":      userData,
		"meta_data.json": fmt.Appendf(nil, `{"uuid": %q, "name": "collector-1", "hostname": "collector-1"}`, rand16()),
		"network_data.json": []byte(`{"links": [{"id": "l", "type": "phy", "ethernet_mac_address": "` + mac + `", "mtu": 1500}], "services": [], "networks": [{"id": "n", "type": "ipv4", "link": "l",
			"ip_address": "10.0.2.15", "netmask": "255.255.255.0", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.2.2"}]}]}`),
	} {
		if err := os.WriteFile(filepath.Join(drive, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	iso := filepath.Join(dir, "drive.iso")
	if out, err := exec.Command("genisoimage", "-quiet", "-V", "config-2", "-r", "-J", "-o", iso, filepath.Join(dir, "drive")).CombinedOutput(); err != nil {
		t.Fatalf("genisoimage: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, port: l.Addr().(*net.TCPAddr).Port, ended: make(chan struct{})}
	_ = l.Close()
	accel := os.Getenv(accelerator)
	if accel == "" {
		accel = "tcg"
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", accel, "-m", "512", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", filepath.Join(image, "vmlinuz"), "-initrd", filepath.Join(image, "initrd"), "-append", "root=/dev/vda ro console=ttyS0 net.ifnames=0 quiet",
		"-drive", "if=virtio,format=qcow2,snapshot=on,file="+filepath.Join(image, "disk.qcow2"), "-drive", "if=virtio,format=raw,readonly=on,file="+iso,
		"-netdev", fmt.Sprintf("user,id=n,hostfwd=tcp:127.0.0.1:%d-:443", m.port), "-device", "virtio-net-pci,netdev=n,mac="+mac)
	cmd.Stdout, cmd.Stderr = &m.console, &m.console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(m.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-m.ended
	})
	return m
}

func rand16() string {
	sum := sha256.Sum256([]byte(time.Now().String()))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// says waits for words on the console.
func (m *machine) says(words string) {
	m.t.Helper()
	for end := time.Now().Add(6 * time.Minute); !strings.Contains(m.console.String(), words); time.Sleep(200 * time.Millisecond) {
		select {
		case <-m.ended:
			m.t.Fatalf("it has ended without %q:\n%s", words, tail(m.console.String()))
		default:
		}
		if time.Now().After(end) {
			m.t.Fatalf("it does not say %q:\n%s", words, tail(m.console.String()))
		}
	}
}

// The script, under cloud-init of a real Debian, against a real Vault: a certificate in place for its owner and in use by haproxy; and with a token that
// somebody else was the first to use, an alarm and nothing.
func TestServerFetchesAsItBoots(t *testing.T) {
	image := os.Getenv(imageFolder)
	if image == "" {
		home, _ := os.UserHomeDir()
		image = filepath.Join(home, ".cache", "openstack-rig", "image")
	}
	for _, p := range []string{"disk.qcow2", "vmlinuz", "initrd"} {
		if _, err := os.Stat(filepath.Join(image, p)); err != nil {
			t.Skipf("no image: %v; provision/e2e/openstack/image.sh makes one", err)
		}
	}
	for _, p := range []string{"qemu-system-x86_64", "genisoimage"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("collector.dripstat.test")
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := pem.Decode(chain)
	sum := sha256.Sum256(leaf.Bytes)
	print := hex.EncodeToString(sum[:])
	s := wrappingVault(t)
	s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(chain), "key": string(key)})
	address := frontOf(t, s, ca)
	plan := planOf(t, strings.Replace(bootPlan, "@ADDRESS@", address, 1), ca)
	user, err := planfile.UserData(plan, plan.Servers[0], "ORD", 0)
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "vault-ca.pem")
	if err := os.WriteFile(caFile, []byte(s.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	store := &vault.Store{Addresses: []string{s.Address}, CA: caFile, Login: vault.Login{Token: secrets.NewValue([]byte(s.Token))}}
	start := func(t *testing.T, stolen bool) *machine {
		t.Helper()
		token, err := store.Wrap(t.Context(), "tls/edge", 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if stolen {
			if fresh, err := store.Spend(t.Context(), token); err != nil || !fresh {
				t.Fatalf("the thief got nothing: %v, %v", fresh, err)
			}
		}
		data := strings.ReplaceAll(string(user), templates.PullToken, string(token.Bytes()))
		packed, err := templates.Pack([]byte(strings.ReplaceAll(data, templates.PullFingerprint, print)), 0)
		if err != nil {
			t.Fatal(err)
		}
		return boot(t, image, packed)
	}
	handshake := func(m *machine) (*tls.ConnectionState, error) {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca.PEM())
		d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{RootCAs: roots, ServerName: "collector.dripstat.test", MinVersion: tls.VersionTLS12}}
		conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", m.port))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState()
		return &state, nil
	}
	t.Run("in place", func(t *testing.T) {
		t.Parallel()
		began, m := time.Now(), start(t, false)
		m.says("failover: certificate edge is in place, SHA-256 " + print)
		t.Logf("in place %.0f s after the machine was started", time.Since(began).Seconds())
		m.says("all is told")
		t.Logf("console:\n%s", m.console.String())
		if n := strings.Count(m.console.String(), "failover: certificate edge is in place, SHA-256 "+print); n != 3 {
			t.Errorf("it is said %d times, and the kernel may write into a line", n)
		}
		for _, want := range []string{"reloaded by root: root", "the file: haproxy:haproxy 640", "tmpfs", "tokens left: 0", "the proxy: active"} {
			if !strings.Contains(m.console.String(), want) {
				t.Errorf("the console does not say %q", want)
			}
		}
		state, err := handshake(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(state.PeerCertificates[0].Raw); got != sum {
			t.Errorf("it presents %x", got)
		}
	})
	t.Run("stolen", func(t *testing.T) {
		t.Parallel()
		m := start(t, true)
		m.says("failover: ALARM: certificate edge: the wrapping token was used before, or is older than 900 s (Vault: 400 ")
		m.says("all is told")
		t.Logf("console:\n%s", m.console.String())
		for _, want := range []string{"No such file or directory", "tokens left: 0", "the proxy: inactive"} {
			if !strings.Contains(m.console.String(), want) {
				t.Errorf("the console does not say %q", want)
			}
		}
		if strings.Contains(m.console.String(), "is in place") || strings.Contains(m.console.String(), "reloaded by") {
			t.Error("something was put into use")
		}
		if _, err := handshake(m); err == nil {
			t.Error("it serves TLS")
		}
	})
}

// frontOf lets machines reach a Vault that listens for this one alone: qemu's network shows our loopback as 10.0.2.2, which the Vault's own
// certificate does not name.
func frontOf(t *testing.T, s *vaulttest.Server, ca *sandbox.CA) string {
	t.Helper()
	chain, key, err := ca.Issue("10.0.2.2")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CA))
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
	})
	return fmt.Sprintf("https://10.0.2.2:%d", l.Addr().(*net.TCPAddr).Port)
}

func planOf(t *testing.T, text string, ca *sandbox.CA) provision.Plan {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, err := planfile.Parse(map[string][]byte{"failover.hcl": []byte(text)}, dir, planfile.Options{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return plan.For("ORD")
}
