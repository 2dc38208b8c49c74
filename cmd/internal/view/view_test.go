package view

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	_ = os.Setenv("LC_ALL", "C.UTF-8")
	os.Exit(m.Run())
}

const run provision.RunID = "01JDXR4000000000000000RUN1"

var began = time.Date(2026, 1, 1, 3, 10, 0, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", path, d)
	}
}

// graph is the design's own: n collectors with a certificate, a proof and a name.
func graph(t *testing.T, n int) (provision.Graph, provision.Facts) {
	t.Helper()
	plan := provision.Plan{Service: "dripstat", Home: "IAD",
		Certificates: []provision.Certificate{{Name: "edge", From: []secrets.Ref{{Store: "vault"}}, Names: []string{"collector.dripstat.com"}}},
		Servers: []provision.Server{{Name: "collector", Cloud: "main", Count: n, Networks: []string{"public"}, Template: "tls-proxy", Certificate: "edge",
			Open: []provision.OpenRule{{Protocol: "tcp", Port: 443, From: "any"}, {Protocol: "tcp", Port: 22, From: "me"}},
			SSH:  provision.SSH{User: "debian", Port: 22}, Timeout: 10 * time.Minute,
			Ready: &provision.Ready{URL: "https://collector.dripstat.com/health", Status: 200, Within: 5 * time.Minute, Successes: 3}}},
		Zones: []provision.Zone{{Name: "public", Zone: "dripstat.com", Within: 5 * time.Minute,
			Records: []provision.Record{{Name: "collector", Host: "collector", Type: "A", TTL: time.Minute, To: []string{"collector"}}}}},
	}
	facts := provision.Facts{Region: "ORD", At: began, Checks: 14, Operator: "198.51.100.7/32",
		Servers: map[string]provision.ServerFacts{"collector": {Image: provision.Image{ID: "i", Name: "debian-12"},
			Rungs:    []provision.Rung{{Flavor: provision.Flavor{ID: "f", Name: "m1.4xlarge", VCPUs: 16, RAMMB: 65536, DiskGB: 100}}, {Flavor: provision.Flavor{ID: "g", Name: "m1.2xlarge", VCPUs: 8, RAMMB: 32768, DiskGB: 100}}},
			Networks: []provision.Network{{ID: "n", Name: "public"}}}},
		Certificates: map[string]provision.CertificateFacts{"edge": {Fingerprint: "f00d", Source: "vault", NotAfter: began.Add(212 * 24 * time.Hour)}},
		Records: map[string]provision.RecordFacts{"collector.dripstat.com./A": {NameServers: []string{"ns1", "ns2"},
			Old: provision.RRset{Name: "collector.dripstat.com.", Type: "A", TTL: 300, Values: []string{"203.0.113.10"}}}},
		Findings: []provision.Finding{
			{Weight: provision.Warn, Check: "flavor", Thing: "server.collector", What: `there is no flavor "m9.huge"`, Hint: "there are: m1.2xlarge, m1.4xlarge", Pos: provision.Pos{File: "failover.hcl", Line: 31}},
			{Weight: provision.Noted, Check: "quota", Thing: "cloud.main", What: "48 of 64 cores used after this run"},
		},
	}
	g, err := steps.Build(plan, facts, run)
	if err != nil {
		t.Fatal(err)
	}
	return g, facts
}

var head = Head{Service: "dripstat", Region: "ORD", Home: "IAD", Plan: "failover.hcl", Purpose: "failover"}

// story is a run told at given seconds from its beginning.
type story struct{ events []provision.Event }

func (s *story) at(sec float64, e provision.Event) *story {
	e.V, e.Run, e.Time = 1, run, began.Add(time.Duration(sec*float64(time.Second)))
	s.events = append(s.events, e)
	return s
}

func (s *story) intent(sec float64, id provision.StepID, attempt int) *story {
	return s.at(sec, provision.Event{Type: provision.StepIntent, Step: id, Attempt: attempt})
}

func (s *story) seen(sec float64, id provision.StepID, what string) *story {
	return s.at(sec, provision.Event{Type: provision.StepSeen, Step: id, Seen: what})
}

func (s *story) done(sec float64, id provision.StepID, out provision.Values) *story {
	return s.at(sec, provision.Event{Type: provision.StepDone, Step: id, Attempt: 1, Out: out, Took: 0.4})
}

func (s *story) failed(sec float64, id provision.StepID, attempt int, final bool, e provision.Error) *story {
	return s.at(sec, provision.Event{Type: provision.StepFailed, Step: id, Attempt: attempt, Final: final, Error: &e})
}

// middle is the design's picture: one server delivers while the other boots.
func middle() *story {
	s := &story{}
	s.at(0, provision.Event{Type: provision.RunStarted})
	return s.done(0.4, "certificate/edge", provision.Values{"fingerprint": "f00d"}).
		done(0.9, "lower/collector.dripstat.com/A", nil).done(0.5, "login", nil).done(1, "keypair/collector", nil).done(1, "group/collector", nil).
		intent(1, "server/collector-1", 1).intent(1, "server/collector-2", 1).
		seen(2, "server/collector-1", "BUILD (scheduling)").seen(2, "server/collector-2", "BUILD (scheduling)").
		done(57, "server/collector-1", provision.Values{"address": "203.0.113.41", "ipv4": "203.0.113.41"}).
		seen(58, "server/collector-2", "BUILD (spawning)").
		done(60, "hostkey/collector-1", nil).intent(68, "deliver/collector-1", 1)
}

var noRoom = provision.Error{Thing: "server/collector-2", What: "ORD has no room for m1.4xlarge in any zone",
	Said: "nova: No valid host was found. There are not enough hosts available.", Hint: "add a rung to flavor in failover.hcl:31, or failover resume"}

// ending completes the story.
func ending() *story {
	s := middle().done(72, "deliver/collector-1", nil).done(74, "prove/collector-1", provision.Values{"proven": "203.0.113.41"}).
		failed(75, "server/collector-2", 1, false, noRoom).at(76, provision.Event{Type: provision.StepCleared, Step: "server/collector-2", Attempt: 1}).
		intent(76, "server/collector-2", 2)
	s.at(150, provision.Event{Type: provision.StepDone, Step: "server/collector-2", Attempt: 2, Out: provision.Values{"address": "203.0.113.57", "ipv4": "203.0.113.57", "flavor": "m1.2xlarge"}, Took: 149})
	return s.done(151, "hostkey/collector-2", nil).done(155, "deliver/collector-2", nil).done(156, "close/collector", nil).
		done(161, "prove/collector-2", provision.Values{"proven": "203.0.113.57"}).
		done(163, "move/collector.dripstat.com/A", provision.Values{"values": []any{"203.0.113.41", "203.0.113.57"}, "ttl": 60.0,
			"moved_at": began.Add(163 * time.Second).Format(time.RFC3339), "stale_until": began.Add(463 * time.Second).Format(time.RFC3339)}).
		done(180, "agree/collector.dripstat.com/A", provision.Values{"servers": 2.0}).done(182, "confirm/collector.dripstat.com/A", nil).
		at(182, provision.Event{Type: provision.RunEnded, Outcome: provision.OutcomeDone})
}

func model(t *testing.T, n int, s *story) *Model {
	t.Helper()
	g, _ := graph(t, n)
	m := NewModel(g, run, began)
	for _, e := range s.events {
		m.Add(e)
	}
	return m
}

func fits(t *testing.T, text string, width, height int) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if height > 0 && len(lines) >= height {
		t.Errorf("%d lines in a terminal of %d", len(lines), height)
	}
	for _, l := range lines {
		if ansi.StringWidth(l) >= width && strings.Contains(strings.TrimSpace(l), " ") {
			t.Errorf("%d columns of %d: %q", ansi.StringWidth(l), width, l)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		g, facts := graph(t, 2)
		var b bytes.Buffer
		l := NewLook(&b, false, width)
		WritePlan(&b, l, head, g, facts)
		WriteDryEnd(&b, l, head, g)
		fits(t, b.String(), width, 0)
		golden(t, fmt.Sprintf("plan-%d", width), b.String())
	}
}

func frame(t *testing.T, m *Model, sec float64, width, height int, color bool) string {
	t.Helper()
	l := NewLook(io.Discard, color, width)
	text := strings.Join(Frame(l, head, m, began.Add(time.Duration(sec*float64(time.Second))), height), "\n") + "\n"
	fits(t, text, width, height)
	return text
}

func TestFrames(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		golden(t, fmt.Sprintf("frame-%d", width), frame(t, model(t, 2, middle()), 72, width, 24, false))
	}
	golden(t, "frame-begin", frame(t, model(t, 2, &story{}), 0, 80, 24, false))
	golden(t, "frame-second-attempt", frame(t, model(t, 2, (&story{ending().events[:20]})), 80, 80, 24, false))
	stop := middle().at(72, provision.Event{Type: provision.Note, Message: "took over the lock that bob on desk left behind (run 01JDXR3)"}).
		at(73, provision.Event{Type: provision.Stopping})
	golden(t, "frame-stopping", frame(t, model(t, 2, stop), 73, 80, 24, false))
	fail := middle().failed(75, "server/collector-2", 2, true, noRoom)
	golden(t, "frame-failed", frame(t, model(t, 2, fail), 75, 80, 24, false))
}

// Colour says nothing that the text does not: without it the same words are there.
func TestColour(t *testing.T) {
	with, without := frame(t, model(t, 2, middle()), 72, 80, 24, true), frame(t, model(t, 2, middle()), 72, 80, 24, false)
	if strings.Contains(without, "\x1b") {
		t.Errorf("escapes without colour: %q", without)
	}
	if !strings.Contains(with, "\x1b[") {
		t.Error("colour has no colour")
	}
	if d := cmp.Diff(without, ansi.Strip(with)); d != "" {
		t.Errorf("the words differ (-without +with):\n%s", d)
	}
}

// A terminal that knows only ASCII gets only ASCII for what hangs on signs.
func TestASCIIIcons(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	text := frame(t, model(t, 2, middle()), 72, 80, 24, false)
	if strings.ContainsAny(text, "✓▸·✗") {
		t.Errorf("signs in a C locale:\n%s", text)
	}
	if !strings.Contains(text, "  + certificate edge") {
		t.Errorf("no mark for what is done:\n%s", text)
	}
}

// 200 servers in 24 lines: what failed and what runs goes before what is done; the rest is counted.
func TestManyServers(t *testing.T) {
	s := &story{}
	s.done(0.4, "certificate/edge", nil).done(0.5, "login", nil).done(1, "keypair/collector", nil).done(1, "group/collector", nil).done(0.9, "lower/collector.dripstat.com/A", nil)
	for i := 1; i <= 200; i++ {
		s.intent(1, provision.StepID(fmt.Sprintf("server/collector-%d", i)), 1)
		s.seen(2, provision.StepID(fmt.Sprintf("server/collector-%d", i)), "BUILD (spawning)")
	}
	for i := 1; i <= 150; i++ {
		for _, step := range []string{"server", "hostkey", "deliver", "prove"} {
			s.done(60, provision.StepID(fmt.Sprintf("%s/collector-%d", step, i)), provision.Values{"address": "203.0.113.41", "proven": "203.0.113.41"})
		}
	}
	s.failed(61, "server/collector-180", 1, true, noRoom)
	for _, height := range []int{10, 24, 60} {
		golden(t, fmt.Sprintf("frame-200-servers-%d", height), frame(t, model(t, 200, s), 72, 80, height, false))
	}
}

// No terminal is so small that the picture does not fit, or that drawing it panics.
func TestEveryTerminalSize(t *testing.T) {
	note := provision.Event{Type: provision.Note, Message: "ETCD IS AWAY, says a note that is longer than most terminals are wide, and a name in it is 東京"}
	m := model(t, 20, middle().at(70, note).at(71, note))
	for width := 1; width < 140; width += 2 {
		for height := 1; height < 40; height++ {
			l := NewLook(io.Discard, true, width)
			lines := Frame(l, head, m, began.Add(72*time.Second), height)
			if len(lines) >= max(height, 2) {
				t.Errorf("%d×%d: %d lines", width, height, len(lines))
			}
			for _, line := range lines {
				if ansi.StringWidth(line) >= max(width, 2) {
					t.Errorf("%d×%d: %q", width, height, line)
				}
			}
		}
	}
}

func summary(t *testing.T, m *Model, h Head, width int) string {
	t.Helper()
	var b bytes.Buffer
	l := NewLook(&b, false, width)
	WriteSummary(&b, l, h, m)
	if m.Err != nil {
		WriteError(&b, l, m.Err)
	}
	fits(t, b.String(), width, 0)
	return b.String()
}

func TestSummaries(t *testing.T) {
	golden(t, "summary-80", summary(t, model(t, 2, ending()), head, 80))
	golden(t, "summary-60", summary(t, model(t, 2, ending()), head, 60))
	golden(t, "summary-120", summary(t, model(t, 2, ending()), head, 120))
	box := head
	box.Sandbox = true
	if text := summary(t, model(t, 2, ending()), box, 80); strings.Contains(text, "  Undo:") || !strings.Contains(text, "it is gone") {
		t.Errorf("a sandbox that is gone cannot be undone:\n%s", text)
	}
	fail := middle().failed(75, "server/collector-2", 2, true, noRoom).at(76, provision.Event{Type: provision.RunEnded, Outcome: provision.OutcomeFailed, Error: &noRoom})
	golden(t, "summary-failed", summary(t, model(t, 2, fail), head, 80))
	stopped := middle().at(73, provision.Event{Type: provision.Stopping}).at(73.5, provision.Event{Type: provision.RunEnded, Outcome: provision.OutcomeStopped})
	golden(t, "summary-stopped", summary(t, model(t, 2, stopped), head, 80))

	g, _ := graph(t, 2)
	rev := steps.Reverse(g, ending().events, run)
	m := NewModel(rev, "01JDXR5000000000000000RUN2", began)
	at := 1.0
	s := &story{}
	for _, x := range rev.Steps {
		s.done(at, x.ID, nil)
		at++
	}
	s.at(at, provision.Event{Type: provision.RunEnded, Outcome: provision.OutcomeDone})
	for _, e := range s.events {
		m.Add(e)
	}
	h := head
	h.Purpose = "abandon"
	golden(t, "summary-abandon", summary(t, m, h, 80))
	var b bytes.Buffer
	h.Plan = ""
	WritePlan(&b, NewLook(&b, false, 80), h, rev, provision.Facts{})
	golden(t, "plan-abandon", b.String())
}

// A name with records of two types is one name; a plan may name no home; a run that moved nothing has no way back.
func TestSummaryOfNames(t *testing.T) {
	move := func(kind provision.Kind, typ string) provision.Step {
		return provision.Step{ID: provision.StepID("move/a.test/" + typ), Kind: kind, Say: provision.Say{Thing: "a.test"},
			With: map[string]provision.Arg{"old": {Is: map[string]any{"type": typ, "values": []any{"203.0.113.10"}}}}}
	}
	out := provision.Values{"moved_at": began.Format(time.RFC3339), "stale_until": began.Add(time.Minute).Format(time.RFC3339)}
	for _, c := range []struct {
		purpose, home string
		steps         []provision.Step
		want, without []string
	}{
		{"failover", "IAD", []provision.Step{move("dns.move", "A"), move("dns.move", "AAAA")}, []string{"a.test serves from ORD", "a.test A was", "a.test AAAA was", "failover back"}, []string{"a.test, a.test"}},
		{"failover", "IAD", nil, []string{"Done in ORD", "failover abandon"}, []string{"failover back"}},
		{"back", "IAD", []provision.Step{move("dns.restore", "A"), move("dns.restore", "AAAA")}, []string{"a.test is back at IAD"}, nil},
		{"back", "", []provision.Step{move("dns.restore", "A")}, []string{"a.test is back where it was before"}, nil},
	} {
		m := NewModel(provision.Graph{Service: "a", Region: "ORD", Home: c.home, Purpose: c.purpose, Of: run, Steps: c.steps}, run, began)
		s := &story{}
		for _, x := range c.steps {
			s.done(1, x.ID, out)
		}
		s.at(2, provision.Event{Type: provision.RunEnded, Outcome: provision.OutcomeDone})
		for _, e := range s.events {
			m.Add(e)
		}
		text := summary(t, m, Head{Service: "a", Region: "ORD", Home: c.home, Purpose: c.purpose}, 80)
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s of home %q lacks %q:\n%s", c.purpose, c.home, w, text)
			}
		}
		for _, w := range c.without {
			if strings.Contains(text, w) {
				t.Errorf("%s of home %q has %q:\n%s", c.purpose, c.home, w, text)
			}
		}
		if n := strings.Count(text, "Some resolvers"); n > 1 {
			t.Errorf("the same is said %d times:\n%s", n, text)
		}
	}
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	g, _ := graph(t, 2)
	p := NewPlain(&b, NewLook(&b, false, 80), head, NewModel(g, run, began))
	s := ending()
	for i, e := range s.events {
		if i == 5 {
			p.Tell(provision.Event{Type: provision.StepSent, Time: e.Time, Step: "server/collector-1", Error: &provision.Error{Thing: "server/collector-1", What: "429", Class: provision.Transient}})
			p.Tell(provision.Event{Type: provision.Note, Time: e.Time, Message: "a note"})
		}
		p.Tell(e)
	}
	p.End()
	golden(t, "plain", b.String())
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	j := NewJSON(&b)
	for _, e := range ending().events[:6] {
		j.Tell(e)
	}
	j.Tell(provision.Event{V: 1, Time: began, Type: provision.Found, Finding: &provision.Finding{Weight: provision.Warn, Check: "x", What: "a <b> & c"}})
	j.End()
	golden(t, "events.jsonl", b.String())
	for line := range bytes.Lines(b.Bytes()) {
		var e provision.Event
		if err := json.Unmarshal(line, &e); err != nil || e.V != 1 || e.Type == "" || e.Time.IsZero() {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// screen is a terminal that is written to.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
	n  int
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.b.Write(p)
}

// The live screen redraws in place, in one write a frame, ten times a second at most; never is anything
// cleared that is not ours; the last words stay.
func TestTTY(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g, _ := graph(t, 2)
		var out screen
		var width atomic.Int64 // the terminal is asked from another goroutine
		width.Store(80)
		q := NewQueue(&out)
		v := NewTTY(q, NewLook(&out, false, 80), func() (int, int) { return int(width.Load()), 24 }, head, NewModel(g, run, began))
		for _, e := range middle().events {
			e.Time = time.Now()
			v.Tell(e)
			time.Sleep(37 * time.Millisecond)
		}
		width.Store(60)
		time.Sleep(2 * time.Second)
		v.Tell(provision.Event{Type: provision.RunEnded, Time: time.Now(), Outcome: provision.OutcomeStopped})
		v.End()
		q.Flush(t.Context())
		text := out.b.String()
		frames := int(time.Since(began) / (100 * time.Millisecond))
		if out.n > frames+2 || out.n < frames-2 {
			t.Errorf("%d writes in %s", out.n, time.Since(began))
		}
		for _, bad := range []string{"\x1b[2J", "\x1b[H", "\x1b[?1049h", "\x1bc"} {
			if strings.Contains(text, bad) {
				t.Errorf("it takes the whole screen: %q", bad)
			}
		}
		if last := replay(text); !strings.Contains(last, "Stopped; nothing is lost") || strings.Contains(last, "^C stops safely") || strings.Count(last, "failover resume") != 1 {
			t.Errorf("what stays on the screen:\n%s", last)
		}
	})
}

// replay gives what a terminal shows in the end: it knows the few sequences that are used.
func replay(text string) string {
	var lines []string
	at := 0
	for len(text) > 0 {
		var n int
		switch {
		case text[0] == '\r':
			text = text[1:]
		case text[0] == '\n':
			at++
			text = text[1:]
		case strings.HasPrefix(text, "\x1b[K"):
			text = text[3:]
		case strings.HasPrefix(text, "\x1b[J"):
			lines = lines[:min(at, len(lines))]
			text = text[3:]
		case strings.HasPrefix(text, "\x1b["):
			if _, err := fmt.Sscanf(text, "\x1b[%dA", &n); err != nil {
				return fmt.Sprintf("unknown sequence %q", text[:5])
			}
			at -= n
			text = text[strings.IndexByte(text, 'A')+1:]
		default:
			end := strings.IndexAny(text, "\r\n\x1b")
			if end < 0 {
				end = len(text)
			}
			for len(lines) <= at {
				lines = append(lines, "")
			}
			lines[at] = text[:end]
			text = text[end:]
		}
	}
	return strings.Join(lines, "\n")
}
