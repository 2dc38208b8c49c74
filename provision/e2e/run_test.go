//go:build openstack

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

func as(err error, target any) bool { return errors.As(err, target) }

// desk is an operator's: a folder with a plan in it, and a place for journals.
type desk struct {
	*testing.T
	dir     string
	service string
	record  string // the name that is moved
	env     []string
	tidied  *bool
}

// plan is what differs between the tests' plans.
type plan struct {
	count   int
	flavors []string
	zone    string // of DNS
	spread  bool
	cloud   string // entry of clouds.yaml
	extra   string // further attributes and blocks of the server
	top     string // further blocks
	timeout string
}

const plainPlan = `service = %q
home    = %q
regions = [%q]

cloud "main" {
  openstack { cloud = %q }
}

server "box" {
  cloud    = cloud.main
  count    = %d
  image    = %q
  flavor   = [%s]
  zones    = [%s]
  networks = [%q]
  spread   = %t
  timeout  = %q
  open     = ["443/tcp from any", "22/tcp from me"]
%s
}

dns "public" {
  zone         = %q
  name_servers = [%q]
  designate { cloud = cloud.main }
  record "www" {
    name     = %q
    type     = "A"
    ttl      = 30
    to       = server.box
    unproven = true
  }
}
%s`

// sit writes a plan of servers that nothing is delivered to, and the record that it moves.
func sit(t *testing.T, p plan) desk {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test")))
	d := desk{T: t, dir: t.TempDir(), tidied: new(bool), service: "e2e-" + name, record: name + "." + here.zone}
	if p.count == 0 {
		p.count = 2
	}
	if p.flavors == nil {
		p.flavors = []string{here.flavor}
	}
	if p.zone == "" {
		p.zone = here.zone
	}
	if p.cloud == "" {
		p.cloud = here.cloud
	}
	if p.timeout == "" {
		p.timeout = "3m"
	}
	var azs []string
	if here.az != "" {
		azs = []string{here.az}
	}
	d.write("failover.hcl", fmt.Sprintf(plainPlan, d.service, here.home, here.region, p.cloud, p.count, here.image, quoted(p.flavors), quoted(azs),
		here.network, p.spread, p.timeout, p.extra, p.zone, here.dns, name, p.top))
	d.env = []string{"HOME=" + d.dir, "PATH=" + os.Getenv("PATH"), "FAILOVER_STATE_DIR=" + filepath.Join(d.dir, "state"), "TERM=dumb"}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "OS_") {
			d.env = append(d.env, v)
		}
	}
	return d
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}

func (d desk) write(name, text string) {
	d.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
}

// process is failover at work.
type process struct {
	d     desk
	cmd   *exec.Cmd
	began time.Time
	out   *buffer
	errs  *buffer
	ended chan error
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start begins a command in the background; a test that ends early takes it along, and what it made: the next test
// needs the room and the quota. That is before the record set goes, which abandon would miss.
func (d desk) start(args ...string) *process {
	d.Helper()
	p := &process{d: d, cmd: exec.Command(here.binary, args...), out: &buffer{}, errs: &buffer{}, began: time.Now(), ended: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = d.dir, d.env, p.out, p.errs
	if err := p.cmd.Start(); err != nil {
		d.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	d.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if d.Failed() && !*d.tidied && len(d.events()) > 0 {
			*d.tidied = true
			if r := d.run("abandon", "--yes"); r.code != 0 {
				d.Logf("%s\n%s", r.out, r.errs)
			}
		}
	})
	return p
}

// result is what a command left.
type result struct {
	args, out, errs string
	code            int
	took            time.Duration
}

// wait lets it end, which every command must within five minutes.
func (p *process) wait() result {
	p.d.Helper()
	select {
	case err := <-p.ended:
		r := result{args: strings.Join(p.cmd.Args[1:], " "), out: p.out.String(), errs: p.errs.String(), took: time.Since(p.began)}
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			r.code = ee.ExitCode() // -1: killed
		} else if err != nil {
			p.d.Fatal(err)
		}
		p.d.Logf("failover %s: exit %d, %.1f s", r.args, r.code, r.took.Seconds())
		return r
	case <-time.After(5 * time.Minute):
		p.d.Fatalf("failover %s does not end\n%s\n%s", p.cmd.Args[1:], p.out, p.errs)
		return result{}
	}
}

func (p *process) kill() {
	p.d.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.d.Fatal(err)
	}
	<-p.ended
}

// goesWell waits for the end of what must succeed.
func (p *process) goesWell() {
	p.d.Helper()
	if r := p.wait(); r.code != 0 {
		p.d.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.errs)
	}
}

// settle sits down with a plan whose name points to the old address, and keeps how the world is.
func settle(t *testing.T, p plan, ttl int) (a client, d desk, before []string) {
	t.Helper()
	a, d = admin(t), sit(t, p)
	login(t, here.cloud).record(d.record, ttl, oldAddress)
	return a, d, a.world()
}

// undone abandons the run, after which the world is as it was.
func (d desk) undone(a client, before []string) {
	d.Helper()
	d.done("abandon", "--yes")
	served(d.T, d.record, oldAddress)
	a.unchanged(before)
}

func (d desk) run(args ...string) result { d.Helper(); return d.start(args...).wait() }

// done runs a command that must succeed.
func (d desk) done(args ...string) result {
	d.Helper()
	r := d.run(args...)
	if r.code != 0 {
		d.Fatalf("failover %s: exit %d\n%s\n%s", r.args, r.code, r.out, r.errs)
	}
	return r
}

// refused runs a command that must end with that code and say all of these.
func (d desk) refused(code int, words []string, args ...string) result {
	d.Helper()
	r := d.run(args...)
	if r.code != code {
		d.Fatalf("failover %s: exit %d, want %d\n%s\n%s", r.args, r.code, code, r.out, r.errs)
	}
	r.says(d.T, words...)
	return r
}

// says compares without regard to where lines were broken.
func (r result) says(t *testing.T, words ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(r.out+" "+r.errs), " ")
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("failover %s does not say %q:\n%s\n%s", r.args, w, r.out, r.errs)
		}
	}
}

// events are those of the newest journal of any purpose.
func (d desk) events() []provision.Event {
	files, _ := filepath.Glob(filepath.Join(d.dir, "state", d.service, "runs", "*.jsonl"))
	if len(files) == 0 {
		return nil
	}
	slices.Sort(files) // ids sort by time
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		d.Fatal(err)
	}
	var out []provision.Event
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e provision.Event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			break // a line that is being written
		}
		out = append(out, e)
	}
	return out
}

// journals is the text of all of them.
func (d desk) journals() string {
	d.Helper()
	files, _ := filepath.Glob(filepath.Join(d.dir, "state", d.service, "runs", "*.jsonl"))
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			d.Fatal(err)
		}
		all.Write(text)
	}
	if all.Len() == 0 {
		d.Fatal("there is no journal")
	}
	return all.String()
}

// count gives how many events of a type and kind the newest journal has.
func (d desk) count(typ provision.EventType, kind provision.Kind) int {
	n := 0
	for _, e := range d.events() {
		if e.Type == typ && e.Kind == kind {
			n++
		}
	}
	return n
}

// until waits for an event in the journal of a process that works.
func (p *process) until(typ provision.EventType, kind provision.Kind, n int) {
	p.d.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if p.d.count(typ, kind) >= n {
			return
		}
		select {
		case err := <-p.ended:
			p.d.Fatalf("it ended (%v) before %s of %s\n%s\n%s", err, typ, kind, p.out, p.errs)
		default:
		}
		if time.Now().After(end) {
			p.d.Fatalf("%s of %s does not come\n%s\n%s", typ, kind, p.out, p.errs)
		}
	}
}

// runID is that of the newest journal.
func (d desk) runID() string {
	d.Helper()
	all := d.events()
	if len(all) == 0 {
		d.Fatal("there is no journal")
	}
	return string(all[0].Run)
}

// addresses are what the newest journal says the servers have.
func (d desk) addresses() []string {
	d.Helper()
	var out []string
	for _, e := range d.events() {
		if e.Type == provision.StepDone && e.Kind == "server.create" {
			out = append(out, e.Out.Text("address"))
		}
	}
	if len(out) == 0 {
		d.Error("no server has an address")
	}
	return out
}

// times prints how long each kind of step took, the slowest of each.
func (d desk) times() {
	d.Helper()
	var kinds []string
	took := map[string]float64{}
	for _, e := range d.events() {
		if e.Type == provision.StepDone {
			if _, ok := took[string(e.Kind)]; !ok {
				kinds = append(kinds, string(e.Kind))
			}
			took[string(e.Kind)] = max(took[string(e.Kind)], e.Took)
		}
	}
	var b strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&b, " · %s %.1f", k, took[k])
	}
	d.Logf("seconds%s", strings.TrimPrefix(b.String(), " ·"))
}
