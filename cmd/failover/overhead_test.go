package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// The settings of docs/performance.md: what a run costs over the bound that they imply.
const (
	overheadLatency = 50 * time.Millisecond
	overheadBoot    = 10 * time.Second
	overheadDNS     = 2 * time.Second
)

const overheadPlan = `
service = "bench"
home    = "IAD"
regions = ["ORD"]

cloud "main" {
  openstack { cloud = "main" }
}

server "box" {
  cloud    = cloud.main
  count    = %d
  image    = "debian-12"
  flavor   = "m1.small"
  networks = ["public"]
  open     = []
}

dns "public" {
  zone         = "dripstat.test"
  name_servers = ["%s"]
  designate { cloud = cloud.main }
  record "box" {
    type     = "A"
    ttl      = 60
    to       = server.box
    unproven = true
  }
}
`

// BenchmarkOverhead runs the real binary against a sandbox in another process (this one), with servers that need no certificate:
//
//	go test -run '^$' -bench Overhead -benchtime 1x ./cmd/failover
//
// It prints what docs/performance.md holds. It is a benchmark, never a timed test: nothing here fails for being slow.
func BenchmarkOverhead(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "failover")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	if fi, err := os.Stat(bin); err == nil {
		b.Logf("binary %.1f MB", float64(fi.Size())/1e6)
	}
	for _, n := range []int{1, 10, 50, 200} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			for b.Loop() {
				overhead(b, bin, n)
			}
		})
	}
}

func overhead(b *testing.B, bin string, n int) {
	dir := b.TempDir()
	c, err := sandbox.Start(b.Context(), sandbox.Options{TLS: true, Latency: overheadLatency, Boot: overheadBoot, DNSDelay: overheadDNS,
		Zones: []sandbox.Zone{{Name: "dripstat.test.", Records: []sandbox.Record{{Name: "box.dripstat.test.", Type: "A", TTL: 60, Values: []string{"203.0.113.10"}}}}}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the benchmark ends
	for name, text := range map[string]string{"failover.hcl": fmt.Sprintf(overheadPlan, n, c.NameServer()), "ca.pem": string(c.CACert()),
		"clouds.yaml": string(c.CloudsYAML("main")) + "    cacert: ca.pem\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.Command(bin, "--region", "ORD", "--yes", "--json")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "OS_CLIENT_CONFIG_FILE=" + filepath.Join(dir, "clouds.yaml")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v\n%s\n%s", err, tailOf(out.String()), errs.String())
	}
	wall := time.Since(began)
	requests := c.Requests()
	sent := map[string]time.Time{}
	for _, r := range requests {
		if r.Service == "nova" && r.Method == "POST" && strings.HasSuffix(r.Path, "/servers") {
			var body struct {
				Server struct {
					Name string `json:"name"`
				} `json:"server"`
			}
			if json.Unmarshal(r.Body, &body) == nil {
				sent[body.Server.Name] = r.Time
			}
		}
	}
	bound := 6*overheadLatency + overheadBoot + overheadDNS
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage) //nolint:errcheck // Linux and macOS
	b.ReportMetric(wall.Seconds(), "wall-s")
	b.ReportMetric(wall.Seconds()/bound.Seconds(), "x-bound")
	b.ReportMetric(bound.Seconds()*1.05+0.3, "allowed-s")
	b.ReportMetric(float64(len(requests)), "requests")
	b.ReportMetric(float64(c.MostConnections()), "connections")
	b.ReportMetric(float64(use.Maxrss)/1024, "rss-MB")
	b.ReportMetric((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), "cpu-s")
	b.ReportMetric(noticed(b, out.Bytes(), sent).Seconds(), "noticed-late-s")
	b.ReportMetric(0, "ns/op")
}

// noticed gives how long after it was ACTIVE the slowest server was seen to be.
func noticed(b *testing.B, events []byte, sent map[string]time.Time) (worst time.Duration) {
	in := bufio.NewScanner(bytes.NewReader(events))
	in.Buffer(nil, 16<<20)
	seen := 0
	for in.Scan() {
		var e provision.Event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			b.Fatal(err)
		}
		if slot, ok := strings.CutPrefix(string(e.Step), "server/"); ok && e.Type == provision.StepDone {
			seen++
			worst = max(worst, e.Time.Sub(sent[slot].Add(overheadLatency+overheadBoot)))
		}
	}
	if seen != len(sent) {
		b.Fatalf("%d servers were created, %d seen", len(sent), seen)
	}
	return worst
}

func tailOf(s string) string { return s[max(0, len(s)-2000):] }
