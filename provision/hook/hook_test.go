package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
)

func newRun(t *testing.T) *Run {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no sh")
	}
	return &Run{Dir: t.TempDir(), Service: "shop", Region: "ORD", Run: "01RUN"}
}

// do runs one command line and gives what the journal would keep.
func do(t *testing.T, h *Run, in provision.Values) (string, error) {
	t.Helper()
	s := provision.Step{ID: "step/x", Within: provision.Duration(time.Minute)}
	if st, err := h.Check(t.Context(), s, in); st.State != provision.Absent || err != nil {
		t.Fatalf("before: %v, %v", st, err)
	}
	if err := h.Do(t.Context(), s, in); err != nil {
		return "", err
	}
	st, err := h.Check(t.Context(), s, in)
	if st.State != provision.Done || err != nil {
		t.Fatalf("after: %v, %v", st, err)
	}
	return st.Out.Text("output"), nil
}

// Words are words, no shell splits them again; addresses come as words and in the environment.
func TestWordsAndEnvironment(t *testing.T) {
	h := newRun(t)
	script := `printf '[%s]' "$@"; echo; echo "$FAILOVER_SERVICE $FAILOVER_REGION $FAILOVER_RUN $FAILOVER_STEP $FAILOVER_ADDRESSES_WEB_FRONT"; pwd; cat`
	out, err := do(t, h, provision.Values{"name": "x", "word_00": "sh", "word_01": "-c", "word_02": script, "word_03": "sh", "word_04": "a b; $(c)",
		"word_05": []any{"198.51.100.1", "198.51.100.2"}, "addresses_web-front": []any{"198.51.100.1", "198.51.100.2"}})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(h.Dir)
	if err != nil {
		t.Fatal(err)
	}
	want := "[a b; $(c)][198.51.100.1][198.51.100.2]\nshop ORD 01RUN x 198.51.100.1 198.51.100.2\n" + dir
	if d := cmp.Diff(want, strings.Replace(out, h.Dir, dir, 1)); d != "" {
		t.Errorf("output (-want +got):\n%s", d)
	}
}

// A failure is final: only the user knows whether it may be repeated. What the command said is kept, its end if it was long.
func TestFailure(t *testing.T) {
	h := newRun(t)
	_, err := do(t, h, provision.Values{"word_00": "sh", "word_01": "-c", "word_02": "echo on standard error >&2; exit 3"})
	var pe *provision.Error
	if !errors.As(err, &pe) || provision.ClassOf(err) != provision.Final || pe.Said != "on standard error" || !strings.Contains(pe.What, "exit status 3") {
		t.Errorf("%#v", err)
	}
	if _, err := do(t, h, provision.Values{"word_00": "./there-is-no-such-command"}); err == nil || provision.ClassOf(err) != provision.Final {
		t.Error(err)
	}
	if _, err := do(t, h, provision.Values{"name": "x"}); err == nil {
		t.Error("no command was run")
	}
}

func TestOutputIsBounded(t *testing.T) {
	out, err := do(t, newRun(t), provision.Values{"word_00": "sh", "word_01": "-c", "word_02": "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"})
	if err != nil || len(out) > keep+10 || !strings.HasPrefix(out, "…") || !strings.HasSuffix(out, "line 1999") {
		t.Errorf("%d bytes, %q…, %v", len(out), out[:20], err)
	}
}

// A command that does not end is ended with its step.
func TestTimeout(t *testing.T) {
	h := newRun(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := h.Do(ctx, provision.Step{ID: "x", Within: provision.Duration(time.Second)}, provision.Values{"word_00": "sleep", "word_01": "60"})
	if err == nil || !strings.Contains(err.Error(), "sleep did not end within 1s") || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if _, err := os.Stat(h.Dir); err != nil {
		t.Error(err)
	}
}
