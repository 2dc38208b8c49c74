package view

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/dripstat/failover/provision"
)

func plainWidth(s string) int { return ansi.StringWidth(s) }

// View is told of a run. No method returns anything, and none waits for who reads, where it writes to a Queue: a view cannot alter a run.
type View interface {
	Tell(e provision.Event)
	// End leaves the summary behind.
	End()
}

// TTY is the live screen: it redraws a block of lines in place, in one write, at most ten times a second, and not while the
// terminal has not taken the frame before.
type TTY struct {
	out  *Queue
	look *Look
	size func() (width, height int)
	head Head
	now  func() time.Time

	mu    sync.Mutex
	m     *Model
	drawn int // lines on the screen that are ours
	quit  chan struct{}
	gone  chan struct{}
}

// NewTTY begins to draw. size is asked before every frame, so that a resized terminal is followed; a negative one says that somebody else has
// the terminal now, as a shell after ^Z and bg.
func NewTTY(out *Queue, look *Look, size func() (int, int), h Head, m *Model) *TTY {
	t := &TTY{out: out, look: look, size: size, head: h, now: time.Now, m: m, quit: make(chan struct{}), gone: make(chan struct{})}
	go t.loop()
	return t
}

func (t *TTY) loop() {
	defer close(t.gone)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-t.quit:
			return
		case <-tick.C:
			if !t.out.Idle() {
				continue
			}
			t.mu.Lock()
			if w, _ := t.size(); w < 0 {
				t.drawn = 0 // the next frame begins below what is there then
			} else {
				t.draw(t.frame())
			}
			t.mu.Unlock()
		}
	}
}

// Tell folds the event in; the next frame shows it.
func (t *TTY) Tell(e provision.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.m.Add(e)
}

// End replaces the live block by the summary, which stays in the scrollback.
func (t *TTY) End() {
	close(t.quit)
	<-t.gone
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m.Ended.IsZero() { // it was only looked at
		t.draw(t.frame())
		return
	}
	t.resize()
	var b strings.Builder
	WriteSummary(&b, t.look, t.head, t.m)
	t.draw(strings.Split(strings.TrimRight(b.String(), "\n"), "\n"))
	t.drawn = 0
}

func (t *TTY) resize() (height int) {
	w, h := t.size()
	if w > 0 {
		t.look.Width = w
	}
	if h <= 0 {
		h = 24
	}
	return h
}

// draw writes a frame over the last one: up, then each line with what is left of the old one erased. No
// screen is cleared, so nothing flickers.
func (t *TTY) draw(lines []string) {
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	if t.drawn > len(lines) {
		b.WriteString("\x1b[J")
	}
	t.drawn = len(lines)
	_, _ = io.WriteString(t.out, b.String())
}

// frame is the live picture, cut to the terminal.
func (t *TTY) frame() []string {
	height := t.resize()
	return Frame(t.look, t.head, t.m, t.now(), height)
}

// Frame draws the picture at one moment, in at most height-1 lines that are narrower than the terminal: a line more, or one that is broken in
// two, and the next frame could not be drawn over this one.
func Frame(l *Look, h Head, m *Model, now time.Time, height int) []string {
	name := 0
	for _, r := range m.rows {
		name = max(name, plainWidth(r.thing))
	}
	name = min(name, 30)
	tail := l.tail(h, m)
	for len(tail) > 1 && height-2-len(tail) < 3 { // of all that is said below the rows, the last line is missed most
		tail = tail[1:]
	}
	lines := []string{l.sides(l.bold.Render(h.title()), l.bold.Render(took(now.Sub(m.Began))))}
	for _, r := range m.visible(height - 2 - len(tail)) {
		lines = append(lines, l.row(m, r, now, name))
	}
	lines = append(lines, tail...)
	lines = lines[:min(len(lines), max(height-1, 1))]
	for i, line := range lines {
		lines[i] = l.cut(line, l.Width-1)
	}
	return lines
}

// tail is what stands below the rows: what is to come, what was noted last, what ^C does.
func (l *Look) tail(h Head, m *Model) []string {
	var lines []string
	if next := m.next(); next != "" {
		lines = append(lines, "  "+l.icon(waiting)+" "+l.dim.Render("then "+next))
	}
	lines = append(lines, "")
	for _, n := range m.Notes[max(0, len(m.Notes)-2):] {
		lines = append(lines, "  "+l.alert.Render(n))
	}
	if h.Glance {
		if len(m.Notes) == 0 {
			lines = lines[:len(lines)-1]
		}
		return lines
	}
	foot := "^C stops safely; go on later with: failover resume " + m.Run.Short()
	if h.Following {
		foot = "^C ends this view, not the run"
	} else if h.Sandbox { // it goes with this process
		foot = "^C stops safely"
	}
	if m.Stopping {
		foot = "stopping: what was begun is recorded; ^C again drops it"
	}
	return append(lines, "  "+l.dim.Render(foot))
}

// visible picks rows when there are more than fit: failed and running ones first, then a count of the rest.
func (m *Model) visible(room int) []*row {
	var started []*row
	for _, r := range m.rows {
		if s, _ := m.rowState(r); s != waiting {
			started = append(started, r)
		}
	}
	if len(started) <= room {
		return started
	}
	if room < 1 {
		return nil
	}
	var out []*row
	for _, want := range []state{failed, running} {
		for _, r := range started {
			if s, _ := m.rowState(r); s == want && len(out) < room-1 {
				out = append(out, r)
			}
		}
	}
	rest := []*row{}
	shown := map[*row]bool{}
	for _, r := range out {
		shown[r] = true
	}
	for _, r := range started {
		if !shown[r] {
			rest = append(rest, r)
		}
	}
	n := m.count(rest)
	var parts []string
	if n[failed] > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n[failed]))
	}
	if n[done] > 0 {
		parts = append(parts, fmt.Sprintf("%d done", n[done]))
	}
	if n[running] > 0 {
		parts = append(parts, fmt.Sprintf("%d under way", n[running]))
	}
	return append(out, &row{thing: "and " + strings.Join(parts, ", ")})
}

// row is one line: icon, thing, what it is doing, how long.
func (l *Look) row(m *Model, r *row, now time.Time, name int) string {
	if len(r.steps) == 0 {
		return l.cut("    "+l.dim.Render(r.thing), l.Width-1)
	}
	st, s := m.rowState(r)
	var began, ended time.Time
	for _, id := range r.steps {
		x := m.steps[id]
		if !x.began.IsZero() && (began.IsZero() || x.began.Before(began)) {
			began = x.began
		}
		if x.ended.After(ended) {
			ended = x.ended
		}
	}
	if st == running {
		ended = now
	}
	clock := ""
	if !began.IsZero() && ended.After(began) {
		clock = l.dim.Render(took(ended.Sub(began)))
	}
	return l.sides(fmt.Sprintf("  %s %s  %s", l.icon(st), pad(l.cut(r.thing, name), name), l.doing(st, s)), clock)
}

// doing says in words what a step does now.
func (l *Look) doing(st state, s *step) string {
	if s == nil {
		return ""
	}
	switch st {
	case done:
		return l.past(s)
	case spared:
		return l.dim.Render("not needed")
	case failed:
		return l.bad.Render(strings.TrimPrefix(s.err.Error(), string(s.ID)+": "))
	}
	out := s.verb()
	if s.seen != "" {
		out += l.dim.Render(", last seen: " + s.seen)
	} else if s.Say.Detail != "" {
		out += l.dim.Render(", " + s.Say.Detail)
	}
	if s.attempt > 1 {
		out = fmt.Sprintf("attempt %d, ", s.attempt) + out
	}
	return out
}

// verb says what a step is at.
func (s *step) verb() string {
	switch s.Kind {
	case "console.hostkeys":
		return "waiting for its host key on the console"
	case "balancer.create", "cloudbalancer.create", "pool.create", "healthmonitor.create", "listener.create", "l7policy.create", "l7rule.create":
		return "making it"
	case "cloudbalancer.terminate", "cloudbalancer.versions", "cloudbalancer.redirect", "cloudbalancer.enable", "cloudbalancer.disable", "cloudbalancer.restore", "cloudbalancer.unterminate":
		return "changing it"
	case "cloudbalancer.attach":
		return "taking its members in"
	case "balancer.join":
		return "taking its members in"
	}
	if s.Kind == "hostkey.rotate" {
		return "waiting for SSH, to change its host key"
	}
	return map[provision.Stage]string{
		provision.StagePrepare: "preparing", provision.StageLower: "lowering the TTL", provision.StageCreate: "booting",
		provision.StageDeliver: "delivering", provision.StageProve: "proving", provision.StageRun: "running",
		provision.StageMove: "moving", provision.StageConfirm: "confirming", provision.StageClose: "closing port 22",
		provision.StageRemove: "removing", provision.StageRestore: "restoring", provision.StageDrain: "waiting for caches to empty"}[s.Say.Stage]
}

// past says what was reached.
func (l *Look) past(s *step) string {
	if s.Clears {
		return "removed, it is not needed"
	}
	switch s.Kind {
	case "service.prove":
		if at := strings.Fields(s.out.Text("proven")); len(at) > 3 {
			return fmt.Sprintf("all %d answer over TLS", len(at))
		}
		return "answers over TLS at " + strings.ReplaceAll(s.out.Text("proven"), " ", ", ")
	case "server.create":
		return "up at " + s.out.Text("address")
	case "balancer.create", "cloudbalancer.create":
		return "there at " + s.out.Text("address") + ", without members yet"
	case "cloudbalancer.use":
		return "is there, at " + s.out.Text("address")
	case "cloudbalancer.terminate":
		return "has the certificate"
	case "cloudbalancer.disable":
		return "sends nobody to the members of before"
	case "cloudbalancer.detach":
		return "has the servers of the run no more"
	case "cloudbalancer.restore":
		return "has its other members as before"
	case "cloudbalancer.unterminate":
		return "has no certificate, as before"
	case "cloudbalancer.versions":
		return "takes TLS 1.2 and later"
	case "cloudbalancer.redirect":
		return "sends plain HTTP on"
	case "cloudbalancer.attach":
		n := len(s.out.List("members"))
		return fmt.Sprintf("%d %s, without traffic yet", n, plural(n, "member"))
	case "cloudbalancer.enable":
		if m := s.out.Text("member"); m != "" {
			return "lets traffic to " + m
		}
		return "has no more members"
	case "pool.create":
		return "has its pool"
	case "healthmonitor.create":
		return "has its health monitor"
	case "listener.create":
		return fmt.Sprintf("listens on port %v", s.With["listen"].Is)
	case "l7policy.create", "l7rule.create":
		return "sends plain HTTP on"
	case "balancer.join":
		n := len(s.out.List("members"))
		return fmt.Sprintf("%d %s", n, plural(n, "member"))
	case "member.prove":
		return "answers at " + strings.ReplaceAll(s.out.Text("proven"), " ", ", ") + ", for its load balancer"
	case "dns.move":
		return "moved to " + strings.Join(s.out.List("values"), ", ")
	case "dns.restore":
		if left, _ := s.out["left"].(bool); left {
			return "left at " + strings.Join(s.out.List("values"), ", ") + ", where someone has pointed it since"
		}
	case "service.confirm":
		return "serves through its public name"
	case "dns.agree":
		return "every name server agrees"
	case "slots.choose":
		if list := s.out.List(provision.Chosen); len(list) < 6 {
			return strings.Join(list, ", ")
		}
		return fmt.Sprintf("%d are chosen", len(s.out.List(provision.Chosen)))
	}
	return s.Say.Detail
}

// next names what has not begun, by stage.
func (m *Model) next() string {
	var parts []string
	for _, stage := range provision.Stages {
		n, left := 0, 0
		for _, s := range m.steps {
			if s.Say.Stage == stage && !s.Clears {
				n++
				if s.state == waiting && !m.ready(s) {
					left++
				}
			}
		}
		if n > 0 && n == left {
			parts = append(parts, string(stage))
		}
	}
	return strings.Join(parts, ", ")
}
