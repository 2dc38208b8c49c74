package cli

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	agelib "filippo.io/age"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets/age"
)

// twoPlaces edits the built-in plan: a certificate from secrets.first, then from secrets.sandbox.
var twoPlaces = []string{`from  = secrets.sandbox`, `from  = [secrets.first, secrets.sandbox]`, `certificate "edge" {`,
	"secrets \"first\" {\n  age {\n    file     = \"first.age\"\n    identity = \"identity.txt\"\n  }\n}\n\ncertificate \"edge\" {"}

// flat takes the line breaks of a narrow screen out.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// sourceOf gives what the last certificate.fetch that was done said of its place.
func (b *bench) sourceOf(name string) string {
	b.t.Helper()
	out := ""
	for _, e := range b.events() {
		if e.Type == provision.StepDone && e.Step == provision.StepID("certificate/"+name) {
			out = e.Out.Text("source")
		}
	}
	return out
}

func TestNextPlaceOfTheLadder(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, twoPlaces...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	if out := flat(b.out.String()); !strings.Contains(out, "from secrets.sandbox, expires in") || !strings.Contains(out, "secrets.first: there is no sealed file") || !strings.Contains(out, "it is taken from secrets.sandbox") {
		t.Errorf("the dry run does not say where it is from:\n%s", out)
	}
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	if s := b.sourceOf("edge"); s != "secrets.sandbox" {
		t.Errorf("the events name %q", s)
	}
}

// The wrong thing in the first place is a refusal: the second is not asked.
func TestWrongInTheLadder(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, twoPlaces...)
	b.no(os.WriteFile(b.path("first.age"), []byte("not sealed at all"), 0o600))
	b.must(exitRefused, "--region", "ORD", "--sandbox", "--yes")
	if out := flat(b.err.String()); !strings.Contains(out, "secrets.first") || !strings.Contains(out, "this is not an age file") || !strings.Contains(out, "what is wrong is not made up for by the next place") {
		t.Errorf("it says:\n%s", out)
	}
}

// seal puts a certificate of a new authority into a bundle of the bench.
func (b *bench) seal(file string, from *sandbox.CA) {
	b.t.Helper()
	text, err := os.ReadFile(b.path("identity.txt"))
	b.no(err)
	id, err := agelib.ParseX25519Identity(strings.TrimSpace(string(text)))
	b.no(err)
	chain, key, err := from.Issue("collector.dripstat.test")
	b.no(err)
	b.no(age.Add(b.path(file), "edge", chain, key, []agelib.Recipient{id.Recipient()}, []agelib.Identity{id}))
}

// interrupt begins a run and stops it once its servers exist.
func (b *bench) interrupt() {
	b.t.Helper()
	code := make(chan int)
	go func() { code <- b.do("--region", "ORD", "--sandbox", "--yes") }()
	deadline := time.Now().Add(20 * time.Second)
	for len(b.cloud.Snapshot().Servers) < 2 {
		if time.Now().After(deadline) {
			b.t.Fatalf("no servers\n%s", b.err.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.no(syscall.Kill(os.Getpid(), syscall.SIGINT))
	if got := <-code; got != exitStopped {
		b.t.Fatalf("exit %d, want %d\n%s", got, exitStopped, b.err.String())
	}
}

// A resumed run takes the very certificate that it began with, from whatever place still has it, and no other.
func TestResumeKeepsToItsCertificate(t *testing.T) {
	b := newBench(t, []string{"slow-boot=2s"}, twoPlaces...) // not parallel: the signal goes to the whole process
	b.interrupt()
	other, err := sandbox.NewCA()
	b.no(err)
	sealed, err := os.ReadFile(b.path("secrets.age"))
	b.no(err)
	b.seal("first.age", other) // renewed meanwhile, in the first place alone
	b.seal("secrets.age", other)
	b.must(exitFailed, "resume")
	if out := flat(b.err.String()); strings.Count(out, "it holds another certificate than the one that this run began with") < 2 || !strings.Contains(out, "abandon this run and start a new one") {
		t.Errorf("it says:\n%s", b.err.String())
	}
	b.no(os.WriteFile(b.path("secrets.age"), sealed, 0o600))
	b.must(exitDone, "resume", "--json")
	if s := b.sourceOf("edge"); s != "secrets.sandbox" {
		t.Errorf("the events name %q", s)
	}
	var want []string
	for _, v := range b.cloud.Snapshot().Servers {
		want = append(want, v.Addresses...)
	}
	slices.Sort(want)
	if !slices.Equal(want, b.served().Values) {
		t.Errorf("the name gives %v, the servers are at %v", b.served().Values, want)
	}
}
