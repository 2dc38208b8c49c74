package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// kept is a backend of one certificate or one error.
type kept struct {
	cert func() *Certificate
	err  error
	hang bool
	says []Remark
	n    *int
}

func (k kept) Certificate(ctx context.Context, _ string) (*Certificate, error) {
	if k.n != nil {
		*k.n++
	}
	if k.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if k.err != nil {
		return nil, k.err
	}
	return k.cert(), nil
}

func (k kept) Remarks(string) []Remark { return k.says }

func TestClimb(t *testing.T) {
	one := func(name string) (func() *Certificate, string) {
		m := issue(t, name, nil, leaf(name), nil)
		make := func() *Certificate {
			c, err := parse(m.pem(), m.keyPEM(t))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		return make, make().Fingerprint()
	}
	a, printA := one("a.test")
	b, printB := one("b.test")
	away := &Error{What: "vault is sealed", Away: true, Hint: "unseal it"}
	wrong := errors.New("the private key does not belong to the certificate")
	rungs := func(ks ...kept) (out []Rung) {
		for i, k := range ks {
			out = append(out, Rung{Ref: Ref{Store: fmt.Sprintf("s%d", i), Path: "edge"}, Backend: k})
		}
		return out
	}
	for name, c := range map[string]struct {
		rungs  []Rung
		pinned string
		from   string // of what was got
		passed int
		want   []string // of the error
	}{
		"the first":                   {rungs: rungs(kept{cert: a}, kept{cert: b}), from: "s0"},
		"the next where one is away":  {rungs: rungs(kept{err: away}, kept{cert: b}), from: "s1", passed: 1},
		"wrapped":                     {rungs: rungs(kept{err: fmt.Errorf("x: %w", away)}, kept{cert: b}), from: "s1", passed: 1},
		"not where it is wrong":       {rungs: rungs(kept{err: wrong}, kept{cert: b}), want: []string{"does not belong"}},
		"wrong after away":            {rungs: rungs(kept{err: away}, kept{err: wrong}, kept{cert: b}), want: []string{"secrets.s0: vault is sealed", "secrets.s1: the private key"}},
		"all away":                    {rungs: rungs(kept{err: away}, kept{err: away}), want: []string{"secrets.s0: vault is sealed; secrets.s1: vault is sealed"}},
		"pinned":                      {rungs: rungs(kept{cert: a}), pinned: printA, from: "s0"},
		"pinned, another on top":      {rungs: rungs(kept{cert: b}, kept{cert: a}), pinned: printA, from: "s1", passed: 1},
		"pinned, a wrong one on top":  {rungs: rungs(kept{err: wrong}, kept{cert: a}), pinned: printA, from: "s1", passed: 1},
		"pinned, nowhere":             {rungs: rungs(kept{cert: b}, kept{err: away}), pinned: printA, want: []string{"another certificate", printB[:16], printA[:16], "secrets.s1: vault is sealed"}},
		"hanging with another behind": {rungs: rungs(kept{hang: true}, kept{cert: b}), from: "s1", passed: 1},
		"hanging alone":               {rungs: rungs(kept{hang: true}), want: []string{"deadline"}},
		"none":                        {want: []string{"does not say where"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				got, err := Climb(ctx, c.rungs, c.pinned)
				if len(c.want) > 0 {
					var le *LadderError
					if !errors.As(err, &le) {
						t.Fatalf("%v is no LadderError", err)
					}
					for _, w := range c.want {
						if !strings.Contains(err.Error(), w) {
							t.Errorf("%v; want %q in it", err, w)
						}
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got.Ref.Store != c.from || len(got.Passed) != c.passed || got.Certificate == nil {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
	t.Run("a rung is asked once, and remarks are those of the one that gave it", func(t *testing.T) {
		n := 0
		says := []Remark{{Warn: true, What: "in the open"}}
		got, err := Climb(t.Context(), rungs(kept{err: away, n: &n, says: []Remark{{What: "not this"}}}, kept{cert: a, n: &n, says: says}), "")
		if err != nil || n != 2 || !slices.Equal(got.Remarks, says) {
			t.Errorf("%v, %d, %+v", err, n, got.Remarks)
		}
		if HintOf(got.Passed[0].Err) != "unseal it" {
			t.Error("the hint is lost")
		}
	})
	t.Run("^C", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n := 0
		if _, err := Climb(ctx, rungs(kept{err: ctx.Err()}, kept{cert: a, n: &n}), ""); err == nil || n != 0 {
			t.Errorf("%v, asked %d", err, n)
		}
	})
}

func TestElsewhere(t *testing.T) {
	for err, want := range map[error]bool{
		&Error{What: "x"}:                                false,
		&Error{What: "x", Away: true}:                    true,
		&Error{What: "x", Err: &Error{Away: true}}:       true,
		fmt.Errorf("y: %w", &Error{What: "x"}):           false,
		fmt.Errorf("y: %w", context.DeadlineExceeded):    true,
		errors.New("z"):                                  false,
		&Error{What: "x", Err: context.Canceled}:         true,
		errors.Join(errors.New("a"), &Error{Away: true}): true,
	} {
		if got := Elsewhere(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
