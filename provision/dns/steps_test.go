package dns

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dripstat/failover/provision"
)

// zone is a provider in memory that keeps one set.
type zone struct {
	mu      sync.Mutex
	set     provision.RRset
	fail    error
	settled provision.Status
	gets    int
	sets    int
	asked   int
}

func (z *zone) Get(_ context.Context, name, typ string) (provision.RRset, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.gets++
	return z.set, nil
}

func (z *zone) Set(_ context.Context, old, next provision.RRset) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.fail != nil {
		return z.fail
	}
	if !equal(z.set, old) {
		return ErrChanged
	}
	z.sets++
	z.set = next
	return nil
}

func (z *zone) Settled(context.Context, string, string) (provision.Status, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	return z.settled, nil
}

func (z *zone) NameServers(context.Context) ([]string, error) { return nil, nil }

func set(ttl int, values ...string) provision.RRset {
	return provision.RRset{Name: "www.shop.test.", Type: "A", TTL: ttl, Values: values}
}

func TestChanger(t *testing.T) {
	old, lowered, moved, foreign := set(300, "203.0.113.10"), set(60, "203.0.113.10"), set(60, "198.51.100.1", "198.51.100.2"), set(60, "192.0.2.66")
	for _, tt := range []struct {
		name  string
		make  func(Zones) *Changer
		holds provision.RRset
		want  provision.RRset
		done  bool   // at the first look
		err   string // of the first look
		extra provision.Values
	}{
		{"lower", Lower, old, lowered, false, "", nil},
		{"lower what is lowered", Lower, lowered, lowered, true, "", nil},
		{"lower what someone else changed", Lower, foreign, foreign, false, "www.shop.test. A was changed by someone else: it is 192.0.2.66 (TTL 60) now, it was 203.0.113.10 (TTL 300)", nil},
		{"move", Move, old, moved, false, "", nil},
		{"move what was lowered", Move, lowered, moved, false, "", nil},
		{"move what is moved", Move, moved, moved, true, "", nil},
		{"move what someone else changed", Move, foreign, foreign, false, "changed by someone else", nil},
		{"move what someone else removed", Move, set(0), set(0), false, "it is absent now", nil},
		{"move with the right values and another TTL", Move, set(900, moved.Values...), set(900, moved.Values...), false, "changed by someone else", nil},
		{"restore", Restore, moved, old, false, "", nil},
		{"restore what was only lowered", Restore, lowered, old, false, "", nil},
		{"restore what was never touched", Restore, old, old, true, "", nil},
		{"restore what someone else changed", Restore, foreign, foreign, false, "changed by someone else", nil},
		{"leave what someone else changed", Restore, foreign, foreign, true, "", provision.Values{"leave": true}},
		{"leave nothing that names ours", Restore, set(60, "192.0.2.66", "198.51.100.1"), set(60, "192.0.2.66", "198.51.100.1"), false, "changed by someone else", provision.Values{"leave": true}},
		{"restore rather than leave", Restore, moved, old, false, "", provision.Values{"leave": true}},
		{"join", Move, set(60, "198.51.100.1"), moved, false, "", provision.Values{"from": []string{"198.51.100.1"}}},
		{"join what was never moved", Move, old, old, false, "changed by someone else", provision.Values{"from": []string{"198.51.100.1"}}},
		{"restore what was not joined yet", Restore, set(60, "198.51.100.1"), old, false, "", provision.Values{"from": []string{"198.51.100.1"}}},
		{"leave nothing that names what was not joined yet", Restore, set(60, "198.51.100.9", "192.0.2.66"), set(60, "198.51.100.9", "192.0.2.66"), false, "changed by someone else",
			provision.Values{"leave": true, "from": []string{"198.51.100.9"}}},
		{"restore from a later run", Restore, foreign, old, false, "", provision.Values{"later": foreign}},
		{"restore from nobody's", Restore, set(60, "192.0.2.67"), set(60, "192.0.2.67"), false, "changed by someone else", provision.Values{"later": foreign}},
		{"leave what a later run put, though it names ours", Restore, moved, moved, true, "", provision.Values{"leave": true, "later": moved}},
		{"leave a later run's no more", Restore, moved, old, false, "", provision.Values{"leave": true, "later": foreign}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := &zone{set: tt.holds}
			h := tt.make(Zones{"public": z})
			in := provision.Values{"zone": "public", "old": old, "ttl": 60, "values": []string{"198.51.100.2", "198.51.100.1"}, "an output": "is no matter"}
			maps.Copy(in, tt.extra)
			s := provision.Step{ID: "x"}
			st, err := h.Check(t.Context(), s, in)
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) || provision.ClassOf(err) != provision.Final {
					t.Fatalf("check: %v, %v; want %q", st, err, tt.err)
				}
				// Even if it had not looked, it would overwrite nothing.
				if err := h.Do(t.Context(), s, in); err == nil || !strings.Contains(err.Error(), "changed by someone else") {
					t.Errorf("do: %v", err)
				}
			case tt.done:
				if st.State != provision.Done || err != nil {
					t.Fatalf("check: %v, %v", st, err)
				}
			default:
				if st.State != provision.Absent || err != nil {
					t.Fatalf("check: %v, %v", st, err)
				}
				if err := h.Do(t.Context(), s, in); err != nil {
					t.Fatal(err)
				}
				gets := z.gets
				if st, err = h.Check(t.Context(), s, in); st.State != provision.Done || err != nil || z.gets != gets {
					t.Errorf("check after: %v, %v, %d reads", st, err, z.gets-gets)
				}
				at, _ := time.Parse(time.RFC3339, st.Out.Text("moved_at"))
				stale, _ := time.Parse(time.RFC3339, st.Out.Text("stale_until"))
				if at.IsZero() || stale.Sub(at) != 300*time.Second {
					t.Errorf("stale from %v to %v", at, stale)
				}
			}
			if d := cmp.Diff(tt.want, z.set); d != "" {
				t.Errorf("held in the end (-want +got):\n%s", d)
			}
		})
	}
}

// A record that was not there is made, and its undo removes it again.
func TestChangerOfANewRecord(t *testing.T) {
	z := &zone{}
	none := provision.RRset{Name: "www.shop.test.", Type: "A"}
	in := provision.Values{"zone": "public", "old": none, "ttl": 60, "values": []string{"198.51.100.1"}}
	move, back := Move(Zones{"public": z}), Restore(Zones{"public": z})
	for i, h := range []*Changer{move, back} {
		if err := h.Do(t.Context(), provision.Step{ID: "x"}, in); err != nil {
			t.Fatal(err)
		}
		if got := len(z.set.Values); got != 1-i {
			t.Errorf("%d values", got)
		}
	}
	// The journal gives it to the next process, which must not take it for a list of one nothing.
	st, err := back.Check(t.Context(), provision.Step{ID: "x"}, in)
	if b, _ := json.Marshal(st.Out["values"]); err != nil || string(b) != "[]" {
		t.Errorf("restored to nothing, it says %s, %v", b, err)
	}
}

// An error of the provider keeps its class: whether it took effect is found out by looking.
func TestChangerError(t *testing.T) {
	z := &zone{set: set(60, "203.0.113.10"), fail: &provision.Error{What: "timeout", Class: provision.Unknown}}
	h := Move(Zones{"public": z})
	in := provision.Values{"zone": "public", "old": z.set, "ttl": 60, "values": []string{"198.51.100.1"}}
	if err := h.Do(t.Context(), provision.Step{ID: "x"}, in); provision.ClassOf(err) != provision.Unknown {
		t.Error(err)
	}
	z.set = set(60, "198.51.100.1") // it did
	if st, err := h.Check(t.Context(), provision.Step{ID: "x"}, in); st.State != provision.Done || err != nil {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := h.Check(t.Context(), provision.Step{ID: "x"}, provision.Values{"zone": "gone", "old": z.set, "ttl": 60}); err == nil || !strings.Contains(err.Error(), `no dns block "gone" any more`) {
		t.Error(err)
	}
}

func TestAgree(t *testing.T) {
	var mu sync.Mutex
	gives := map[string]string{}
	serve := func(name string) string {
		return nameServer(t, func(_ string, w dns.ResponseWriter, r *dns.Msg) {
			mu.Lock()
			defer mu.Unlock()
			if v := gives[name]; v != "" {
				answer(w, r, dns.RcodeSuccess, "www.shop.test. 60 A "+v)
			} else {
				answer(w, r, dns.RcodeNameError)
			}
		})
	}
	a, b := serve("a"), serve("b")
	z := &zone{settled: provision.Status{State: provision.Working, Seen: "PENDING"}}
	h := &Agree{Zones: Zones{"public": z}}
	in := provision.Values{"zone": "public", "name": "www.shop.test.", "type": "A", "values": []string{"198.51.100.1"}, "name_servers": []string{a, b}}
	for _, tt := range []struct {
		a, b  string
		state provision.State
		seen  string
	}{
		{"203.0.113.10", "", provision.Working, "0 of 2 agree; " + a + " still gives 203.0.113.10"},
		{"198.51.100.1", "", provision.Working, "1 of 2 agree; " + b + " has no such record yet"},
		{"198.51.100.1", "198.51.100.1", provision.Done, ""},
	} {
		mu.Lock()
		gives["a"], gives["b"] = tt.a, tt.b
		mu.Unlock()
		st, err := h.Check(t.Context(), provision.Step{}, in)
		if err != nil || st.State != tt.state || st.Seen != tt.seen {
			t.Errorf("%s %q, %v; want %s %q", st.State, st.Seen, err, tt.state, tt.seen)
		}
	}
	in["name_servers"] = []string{}
	if _, err := h.Check(t.Context(), provision.Step{}, in); err == nil || !strings.Contains(err.Error(), "no authoritative name server is known") {
		t.Error(err)
	}
}

// The provider is asked seldom, and its ERROR ends the wait at once.
func TestAgreeAsksTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{settled: provision.Status{State: provision.Working, Seen: "PENDING"}}
		h := &Agree{Zones: Zones{"public": z}}
		look := func() provision.Status {
			st, err := h.settling(t.Context(), "public", "www.shop.test.", "A", "0 of 1 agree")
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		seen := ""
		for range 50 {
			st := look()
			if strings.Contains(st.Seen, "PENDING") {
				seen = st.Seen
			}
			time.Sleep(100 * time.Millisecond)
		}
		if z.asked < 3 || z.asked > 5 || seen != "PENDING; 0 of 1 agree" {
			t.Errorf("asked %d times in 5 s, saw %q", z.asked, seen)
		}
		z.settled = provision.Status{State: provision.Failed, Seen: "ERROR"}
		time.Sleep(2 * time.Second)
		if st := look(); st.State != provision.Failed || st.Seen != "ERROR" {
			t.Errorf("%+v", st)
		}
	})
}

// With hold, name servers that agree are watched for that long, and the time begins anew when one of them gives something else.
func TestAgreeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := &Agree{Zones: Zones{"public": &zone{}}, Ask: func(context.Context, string, string, string) (provision.RRset, error) {
			if d := time.Since(began); d > 20*time.Second && d < 25*time.Second { // what was on its way comes late
				return set(60, "198.51.100.1"), nil
			}
			return set(60, "203.0.113.10"), nil
		}}
		in := provision.Values{"zone": "public", "name": "www.shop.test.", "type": "A", "values": []string{"203.0.113.10"}, "name_servers": []string{"ns"}, "hold": 60}
		for {
			st, err := a.Check(t.Context(), provision.Step{}, in)
			if err != nil {
				t.Fatal(err)
			}
			if st.State == provision.Done {
				break
			}
			time.Sleep(st.Again)
		}
		if took := time.Since(began); took < 85*time.Second || took > 87*time.Second {
			t.Errorf("done after %s", took)
		}
	})
}

// A change that was on its way when its process died may arrive after its undoing has looked.
func TestRestoreWatchesForALateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{set: set(300, "203.0.113.10")}
		in := provision.Values{"zone": "public", "old": z.set, "ttl": 60, "values": []string{"198.51.100.1"}, "hold": 15}
		h, s := Restore(Zones{"public": z}), provision.Step{ID: "x"}
		if st, err := h.Check(t.Context(), s, in); err != nil || st.State != provision.Working {
			t.Fatalf("at once: %+v, %v", st, err)
		}
		z.set = set(60, "203.0.113.10") // the lowered TTL arrives
		time.Sleep(5 * time.Second)
		if st, err := h.Check(t.Context(), s, in); err != nil || st.State != provision.Absent {
			t.Fatalf("after it came: %+v, %v", st, err)
		}
		if err := h.Do(t.Context(), s, in); err != nil || z.set.TTL != 300 {
			t.Fatalf("%+v, %v", z.set, err)
		}
		if st, err := h.Check(t.Context(), s, in); err != nil || st.State != provision.Done {
			t.Errorf("put back: %+v, %v", st, err)
		}
		again := Restore(Zones{"public": z})
		_, _ = again.Check(t.Context(), s, in)
		time.Sleep(15 * time.Second)
		if st, err := again.Check(t.Context(), s, in); err != nil || st.State != provision.Done {
			t.Errorf("after 15 s of nothing: %+v, %v", st, err)
		}
	})
}
