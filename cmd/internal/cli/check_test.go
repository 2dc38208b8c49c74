package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// three edits the built-in plan: places first, sandbox and disk, and two regions to go to.
var three = []string{`from  = secrets.sandbox`, `from  = [secrets.first, secrets.sandbox, secrets.disk]`, `regions = ["ORD", "IAD"]`, `regions = ["ORD", "DFW"]`, `certificate "edge" {`,
	"secrets \"first\" {\n  age {\n    file     = \"first.age\"\n    identity = \"identity.txt\"\n  }\n}\n\nsecrets \"disk\" {\n  file {\n    chain = \"disk.pem\"\n  }\n}\n\ncertificate \"edge\" {"}

func TestCheck(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, three...)
	ca, err := sandbox.NewCA() // one that the plan does not trust
	b.no(err)
	chain, key, err := ca.Issue("collector.dripstat.test")
	b.no(err)
	b.no(os.WriteFile(b.path("disk.pem"), append(chain, key...), 0o600))
	b.must(exitDone, "check")
	out := flat(b.out.String())
	for _, want := range []string{"failover check dripstat", "certificate edge ✗ secrets.first there is no sealed file", "failover seal NAME --cert FILE", "✓ secrets.sandbox until ",
		"✗ secrets.disk until", "which no trusted root signed", "the private key lies in the open on this disk", "secrets.disk has another certificate",
		"ORD a run would begin:", "certificate edge from secrets.sandbox", "DFW a run would begin:"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, b.out.String())
		}
	}
	if n := b.cloud.Writes(); n != 0 {
		t.Errorf("a check sent %d writing requests", n)
	}
	if _, err := os.Stat(b.path("state")); err == nil {
		t.Error("a check wrote a journal")
	}
	b.must(exitRefused, "check", "--strict")
	b.must(exitUsage, "check", "--region", "LAX")
	if !strings.Contains(b.err.String(), "LAX") {
		t.Errorf("it does not name the region:\n%s", b.err.String())
	}
	b.no(os.Remove(b.path("disk.pem")))
	b.no(os.Remove(b.path("secrets.age")))
	b.must(exitRefused, "check", "--region", "ORD")
}

func TestCheckTellsAsJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"region-dark=DFW:refuse"}, three...)
	b.no(os.WriteFile(b.path("disk.pem"), append(b.chain, b.key...), 0o600))
	b.must(exitRefused, "check", "--json")
	places, regions := map[string]provision.Place{}, map[string]provision.Verdict{}
	for _, e := range b.events() {
		switch e.Type {
		case provision.PlaceTried:
			places[e.Place.Source] = *e.Place
		case provision.RegionSeen:
			regions[e.Verdict.Region] = *e.Verdict
		default:
			t.Errorf("an event %q", e.Type)
		}
	}
	if p := places["secrets.first"]; p.Works || p.NotAfter != nil || len(p.Findings) != 1 || p.Findings[0].Weight != provision.Warn {
		t.Errorf("first: %+v", p)
	}
	for _, n := range []string{"secrets.sandbox", "secrets.disk"} {
		if p := places[n]; !p.Works || p.NotAfter == nil || len(p.Fingerprint) != 64 || p.Certificate != "edge" {
			t.Errorf("%s: %+v", n, p)
		}
	}
	if v := regions["ORD"]; !v.Works || v.Checks < 10 || v.Sources["edge"] != "secrets.sandbox" {
		t.Errorf("ORD: %+v", v)
	}
	if v := regions["DFW"]; v.Works || len(v.Findings) == 0 || len(regions) != 2 {
		t.Errorf("DFW: %+v", v)
	}
}

// A Barbican is another one in each region; one without the container is passed over.
func TestCheckOfEachRegionsBarbican(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, `from  = secrets.sandbox`, `from  = [secrets.barbican, secrets.sandbox]`, `regions = ["ORD", "IAD"]`, `regions = ["ORD", "DFW"]`, `certificate "edge" {`,
		"secrets \"barbican\" {\n  barbican {\n    cloud = cloud.main\n  }\n}\n\ncertificate \"edge\" {")
	b.must(exitDone, "check")
	out := flat(b.out.String())
	for _, want := range []string{"certificate edge in ORD ✗ secrets.barbican Barbican has no container \"edge\"", "certificate edge in DFW ✗ secrets.barbican", "ORD a run would begin", "edge from secrets.sandbox"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, b.out.String())
		}
	}
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	if s := b.sourceOf("edge"); s != "secrets.sandbox" {
		t.Errorf("the events name %q", s)
	}
}

// A region that the catalog does not know is a mistake of the plan, and hides nothing of the others.
func TestCheckOfAnUnknownRegion(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.no(os.WriteFile(b.path("failover.hcl"), []byte(strings.Replace(read(t, "templates", "files", "sandbox.hcl"), `regions = ["ORD", "IAD"]`, `regions = ["LAX", "ORD"]`, 1)), 0o600))
	b.must(exitUsage, "check")
	if out := flat(b.out.String()); !strings.Contains(out, "LAX a run would be refused") || !strings.Contains(out, "ORD a run would begin") {
		t.Errorf("it says\n%s", b.out.String())
	}
	b.no(os.WriteFile(b.path("failover.hcl"), []byte(strings.Replace(read(t, "templates", "files", "sandbox.hcl"), `regions = ["ORD", "IAD"]`, ``, 1)), 0o600))
	b.must(exitUsage, "check")
	if !strings.Contains(b.err.String(), "names no region besides home") {
		t.Errorf("it says\n%s", b.err.String())
	}
}
