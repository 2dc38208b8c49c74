// Package hook runs the steps of the user's own, on the operator's machine.
//
// A command gets its words as they stand in the plan (no shell), the addresses in its environment, and
// /dev/null as input. What it prints is kept, bounded, in the journal, so it must print no secret. A dry run never runs it.
package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

// keep bounds what the journal takes of a command's output; its end says most.
const keep = 4 << 10

// Run performs hook.run.
type Run struct {
	Dir     string // working directory: the plan's
	Service string
	Region  string
	Run     provision.RunID
	Without []string // variables of this process's environment that commands do not get

	mu   sync.Mutex
	done map[provision.StepID]provision.Values
}

// Check is Done after this process ran the command with success. A resumed run runs it again: a command
// must bear that, which docs/plan-language.md says.
func (h *Run) Check(_ context.Context, s provision.Step, _ provision.Values) (provision.Status, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if out, ok := h.done[s.ID]; ok {
		return provision.Status{State: provision.Done, Out: out}, nil
	}
	return provision.Status{State: provision.Absent}, nil
}

// Do runs the command to its end. A failure is final: only the user knows whether it may be repeated.
func (h *Run) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	words, env := split(in)
	if len(words) == 0 {
		return &provision.Error{What: "has no command to run"}
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // running the user's command is what this is for
	cmd.Dir = h.Dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(h.Without, name)
	}), env...)
	cmd.Env = append(cmd.Env, "FAILOVER_SERVICE="+h.Service, "FAILOVER_REGION="+h.Region, "FAILOVER_RUN="+string(h.Run), "FAILOVER_STEP="+in.Text("name"))
	apart(cmd)
	cmd.WaitDelay = 5 * time.Second // who left its group may hold the pipe open after the kill
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		what := fmt.Sprintf("%s failed: %v", words[0], err)
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			what = words[0] + " was killed: the run was dropped, or another has taken the lock"
		case ctx.Err() != nil:
			what = fmt.Sprintf("%s did not end within %s", words[0], s.Within)
		}
		return &provision.Error{What: what, Said: out.text(), Hint: "mend it, then: failover resume"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = map[provision.StepID]provision.Values{}
	}
	h.done[s.ID] = provision.Values{"output": out.text()}
	return nil
}

// split gives the command's words and the environment out of word_NN and addresses_NAME.
func split(in provision.Values) (words, env []string) {
	for _, key := range slices.Sorted(maps.Keys(in)) {
		if strings.HasPrefix(key, "word_") {
			words = append(words, in.List(key)...)
		}
		if name, ok := strings.CutPrefix(key, "addresses_"); ok {
			v := "FAILOVER_ADDRESSES_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			env = append(env, v+"="+strings.Join(in.List(key), " "))
		}
	}
	return words, env
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
	n  int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += len(p)
	t.b = append(t.b, p...)
	if len(t.b) > keep {
		t.b = slices.Clone(t.b[len(t.b)-keep:])
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := string(bytes.ToValidUTF8(bytes.TrimSpace(t.b), []byte("?")))
	if t.n > keep {
		return "…" + s
	}
	return s
}
