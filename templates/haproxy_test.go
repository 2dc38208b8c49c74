package templates

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// haproxy gives the program, or skips.
func haproxy(t *testing.T) string {
	t.Helper()
	p, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed: the rendered configuration is not tried")
	}
	return p
}

// config renders haproxy.cfg with a certificate made for the test. Unless whole, the lines that need root go.
func config(t *testing.T, vars map[string]string, whole bool) (file string, roots *x509.CertPool) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fo") // a template refuses the characters of a longer test name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	bundle, roots := selfSigned(t)
	if err := os.WriteFile(filepath.Join(dir, "edge.pem"), bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	in := input()
	in.CertificatePath = filepath.Join(dir, "edge.pem")
	in.Vars = vars
	b, err := Render("tls-proxy", in)
	if err != nil {
		t.Fatal(err)
	}
	cfg := written(t, b, "/etc/failover/haproxy.cfg")
	if !whole {
		var kept []string
		for l := range strings.Lines(cfg) {
			switch w := strings.Fields(l); {
			case len(w) > 0 && (w[0] == "user" || w[0] == "group" || w[0] == "chroot"):
			default:
				kept = append(kept, l)
			}
		}
		cfg = strings.Join(kept, "")
	}
	file = filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, roots
}

func selfSigned(t *testing.T) ([]byte, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "collector.test"}, DNSNames: []string{"collector.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: k})...), roots
}

func TestHaproxyTakesTheConfiguration(t *testing.T) {
	bin := haproxy(t)
	for name, vars := range map[string]map[string]string{
		"no upstream": nil,
		"one":         {"upstream": "127.0.0.1:8080"},
		"several":     {"upstream": "127.0.0.1:8080,[::1]:8081,localhost:8082", "upstream_check": "/ok"},
		"no health":   {"upstream": "127.0.0.1:8080", "health": ""},
	} {
		for _, listen := range []string{"*", "::"} {
			file, _ := config(t, vars, true)
			c := exec.Command(bin, "-c", "-f", file)
			c.Env = []string{"FAILOVER_LISTEN=" + listen}
			out, err := c.CombinedOutput()
			if err != nil || strings.Contains(string(out), "WARNING") {
				t.Errorf("%s, listening on %s: %v\n%s", name, listen, err, out)
			}
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs haproxy on loopback and gives a client that asks it by the certificate's name.
func start(t *testing.T, vars map[string]string) (port, plainPort int, client func(*tls.Config) *http.Client) {
	t.Helper()
	bin := haproxy(t)
	port, plainPort = freePort(t), freePort(t)
	all := map[string]string{"https_port": strconv.Itoa(port), "http_port": strconv.Itoa(plainPort), "maxconn": "100"}
	for k, v := range vars {
		all[k] = v
	}
	file, roots := config(t, all, false)
	ctx, cancel := context.WithCancel(t.Context())
	c := exec.CommandContext(ctx, bin, "-db", "-f", file)
	c.Env = []string{"FAILOVER_LISTEN=127.0.0.1"}
	var log strings.Builder
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		n, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = n.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("haproxy did not start: %v", err)
		}
	}
	return port, plainPort, func(conf *tls.Config) *http.Client {
		conf.RootCAs, conf.ServerName = roots, "collector.test"
		tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
}

func status(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	return r
}

func TestHaproxyServes(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Forwarded-For") != "127.0.0.1" || r.Header.Get("X-Forwarded-Proto") != "https" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer up.Close()
	port, plain, client := start(t, map[string]string{"upstream": up.Listener.Addr().String(), "req_rate": "20"})
	base := fmt.Sprintf("https://127.0.0.1:%d", port)
	c := client(&tls.Config{})
	r := status(t, c, base+"/health")
	if r.StatusCode != http.StatusOK || r.ProtoMajor != 2 {
		t.Errorf("health gave %d over %s", r.StatusCode, r.Proto)
	}
	q, err := http.NewRequest(http.MethodGet, base+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-Forwarded-For", "6.6.6.6")
	if r, err := c.Do(q); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("the upstream was not reached as it should be: %v %v", r, err)
	}
	if r := status(t, c, fmt.Sprintf("http://127.0.0.1:%d/x", plain)); r.StatusCode != http.StatusMovedPermanently || !strings.HasPrefix(r.Header.Get("Location"), "https://") {
		t.Errorf("plain HTTP gave %d %s", r.StatusCode, r.Header.Get("Location"))
	}
	last := 0
	for range 30 {
		last = status(t, c, base+"/").StatusCode
	}
	if last != 429 {
		t.Errorf("the 30th request in a row gave %d; want 429", last)
	}
	if r := status(t, c, base+"/health"); r.StatusCode != http.StatusOK {
		t.Errorf("past the rate, health gave %d", r.StatusCode)
	}
	old := client(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // that it is refused is the point
	if _, err := old.Get(base + "/health"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if r := status(t, client(&tls.Config{MaxVersion: tls.VersionTLS12}), base+"/health"); r.StatusCode != http.StatusOK {
		t.Errorf("TLS 1.2 gave %d", r.StatusCode)
	}
}

func TestHaproxyTellsTheTruth(t *testing.T) {
	port, _, client := start(t, map[string]string{"upstream": fmt.Sprintf("127.0.0.1:%d", freePort(t))})
	c := client(&tls.Config{})
	code := 0
	for end := time.Now().Add(10 * time.Second); code != 503 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		code = status(t, c, fmt.Sprintf("https://127.0.0.1:%d/health", port)).StatusCode
	}
	if code != 503 {
		t.Errorf("with no live upstream, health gave %d", code)
	}
}

func TestHaproxyWithoutUpstream(t *testing.T) {
	port, _, client := start(t, map[string]string{})
	c := client(&tls.Config{})
	base := fmt.Sprintf("https://127.0.0.1:%d", port)
	if h, r := status(t, c, base+"/health").StatusCode, status(t, c, base+"/").StatusCode; h != 200 || r != 503 {
		t.Errorf("health gave %d, the rest %d; want 200 and 503", h, r)
	}
}
