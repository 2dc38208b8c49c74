//go:build etcd

package etcdtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Cluster is etcd members on loopback ports, in folders that go with the test.
type Cluster struct {
	t       testing.TB
	Members []*Member
}

// Member is one etcd process.
type Member struct {
	Name string
	URL  string
	args []string
	log  string
	cmd  *exec.Cmd
}

// Start starts n members and waits until they have a leader. The test is skipped where there is no etcd.
// more are further arguments of etcd; scheme is that of the clients' URLs.
func Start(t testing.TB, n int, scheme string, more ...string) *Cluster {
	t.Helper()
	bin, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("there is no etcd in PATH (Debian: apt-get install etcd-server)")
	}
	c := &Cluster{t: t}
	dir := t.TempDir()
	ports := freePorts(t, 2*n)
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("m%d=http://127.0.0.1:%d", i, ports[n+i]))
	}
	for i := range n {
		m := &Member{Name: fmt.Sprintf("m%d", i), URL: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[i]), log: filepath.Join(dir, fmt.Sprintf("m%d.log", i))}
		_, peer, _ := strings.Cut(peers[i], "=")
		m.args = append([]string{bin, "--name", m.Name, "--data-dir", filepath.Join(dir, m.Name),
			"--listen-client-urls", m.URL, "--advertise-client-urls", m.URL, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(peers, ","), "--initial-cluster-state", "new", "--unsafe-no-fsync", "--log-level", "warn"}, more...)
		c.Members = append(c.Members, m)
	}
	t.Cleanup(func() {
		for _, m := range c.Members {
			m.end()
		}
	})
	for _, m := range c.Members {
		c.Restart(m)
	}
	if scheme == "http" {
		c.Leader()
	}
	return c
}

func freePorts(t testing.TB, n int) []int {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are held until all are known
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Restart starts a member that was killed.
func (c *Cluster) Restart(m *Member) {
	c.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	m.cmd = exec.Command(m.args[0], m.args[1:]...)
	m.cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH=arm64", "ETCDCTL_API=3")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// Kill ends a member at once.
func (m *Member) Kill() { m.end() }

// Stop halts a member without closing its connections: what a stalled disk or hypervisor does.
func (m *Member) Stop() { _ = m.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets a stopped member go on.
func (m *Member) Continue() { _ = m.cmd.Process.Signal(syscall.SIGCONT) }

func (m *Member) end() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	m.cmd = nil
}

// Endpoints gives the clients' URLs.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, m := range c.Members {
		out = append(out, m.URL)
	}
	return out
}

// Leader waits for one, 30 s at most.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	hc := &http.Client{Timeout: time.Second}
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, m := range c.Members {
			if m.cmd == nil {
				continue
			}
			resp, err := hc.Post(m.URL+"/v3/maintenance/status", "application/json", strings.NewReader("{}"))
			if err != nil {
				last = err
				continue
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			var s struct {
				Header struct {
					ID string `json:"member_id"`
				} `json:"header"`
				Leader string `json:"leader"`
			}
			if json.Unmarshal(b, &s) == nil && s.Leader != "" && s.Leader != "0" && s.Leader == s.Header.ID {
				return m
			}
			last = fmt.Errorf("%s is not the leader: %s", m.Name, b)
		}
	}
	for _, m := range c.Members {
		if b, err := os.ReadFile(m.log); err == nil {
			c.t.Logf("%s:\n%s", m.Name, b[max(0, len(b)-2000):])
		}
	}
	c.t.Fatalf("etcd has no leader: %v", last)
	return nil
}
