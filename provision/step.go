package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// StepID names a step, the same in every run of one plan: "server/collector-1".
type StepID string

// Kind names a behaviour: "server.create". The packages that build steps and the packages that perform
// them agree on kinds and on argument names; nothing else joins them.
type Kind string

// Step is one change, or one proof, as data. It is printed by a dry run, journaled, and performed by the
// Handler of its Kind.
type Step struct {
	ID    StepID         `json:"id"`
	Kind  Kind           `json:"kind"`
	Needs []StepID       `json:"needs,omitempty"`
	With  map[string]Arg `json:"with,omitempty"`

	// Ladder holds, for each further attempt, what differs from With. An attempt that failed for good is
	// cleared away (Undo) before the next begins.
	Ladder []map[string]Arg `json:"ladder,omitempty"`

	Undo Undo `json:"undo,omitzero"`

	// Volatile effects live in the process that made them (a key in memory) or grow stale (a proof): a run
	// that goes on performs the step again where something that needs it is not done.
	Volatile bool `json:"volatile,omitempty"`

	// Slot is the server that the step is for where any of several would do: when the step fails for good, the
	// others may be enough. Empty: the run cannot do without the step.
	Slot string `json:"slot,omitempty"`
	// Quorum, on a step that needs steps of several slots, says how many slots are enough.
	Quorum *Quorum `json:"quorum,omitempty"`
	// Clears makes the step one that is performed only where its Slot was given up, once nothing is at work on
	// the slot any more: it removes what is there of it.
	Clears bool `json:"clears,omitempty"`

	// Within bounds one attempt, from its first request to its effect.
	Within Duration `json:"within,omitempty"`
	// Expect is what a step like this usually takes. For people only.
	Expect Duration `json:"expect,omitempty"`

	Say Say `json:"say"`
}

// Quorum lets a step begin before all slots that it needs are done, and without those that never will be. Its
// arguments are taken from the slots that are done when it begins; what the others would give is left out.
type Quorum struct {
	// Want slots let it begin at once.
	Want int `json:"want"`
	// Least slots let it begin as soon as there can be no more. When there can be no Least, the run fails.
	Least int `json:"least"`
	// Final says that slots which are not in the step's output Chosen are given up: nothing more is begun for them.
	Final bool `json:"final,omitempty"`
}

// Chosen is the output of a Final quorum's step that names the slots it keeps.
const Chosen = "slots"

// Say is what views show of a step. It holds no secret.
type Say struct {
	Stage  Stage  `json:"stage"`
	Thing  string `json:"thing"`            // "collector-1"
	Detail string `json:"detail,omitempty"` // "m1.4xlarge (16 vCPU, 64 GiB), debian-12"
	Hint   string `json:"hint,omitempty"`   // what to type when the step failed for good
}

// Stage groups steps for people, in the order of Stages.
type Stage string

// The stages of a run, in their order on the screen. Steps of different stages overlap in time.
const (
	StagePrepare Stage = "prepare" // keys, groups, certificate in memory
	StageLower   Stage = "lower"   // TTLs
	StageCreate  Stage = "create"
	StageDeliver Stage = "deliver"
	StageProve   Stage = "prove"
	StageRun     Stage = "run" // the user's own
	StageMove    Stage = "move"
	StageConfirm Stage = "confirm"
	StageClose   Stage = "close"
	StageRemove  Stage = "remove" // reverse graphs
	StageRestore Stage = "restore"
	StageDrain   Stage = "drain" // the way back: caches empty
)

// Stages in display order.
var Stages = []Stage{StagePrepare, StageLower, StageCreate, StageDeliver, StageProve, StageRun, StageMove, StageRestore, StageConfirm, StageClose, StageDrain, StageRemove}

// Undo says what the reverse graph makes of a step that was done.
type Undo struct {
	// Kind of the reversing step; empty: the effect is kept.
	Kind Kind `json:"kind,omitempty"`
	// Take names what the reversing step is given: literal arguments of the step, or its outputs.
	Take []string `json:"take,omitempty"`
}

// UndoArgs are the arguments of the reversing step after the step's attempt (0 is the first) had given
// out. An output goes before an argument of the same name; what is not known is left out.
func (s Step) UndoArgs(attempt int, out Values) Values {
	in := Values{}
	for _, name := range s.Undo.Take {
		a, ok := s.With[name]
		if attempt > 0 && attempt <= len(s.Ladder) {
			if rung, has := s.Ladder[attempt-1][name]; has {
				a, ok = rung, true
			}
		}
		if ok && len(a.Of) == 0 && !a.List {
			in[name] = a.Is
		}
		if v, has := out[name]; has {
			in[name] = v
		}
	}
	return in
}

// Digest tells two steps apart: it is the same for a step and for what a journal gives back of it.
func (s Step) Digest() string {
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	// What comes back has float64 for numbers and maps for structs, which are written the same but for the order
	// of struct fields: once through, and both sides are alike.
	var again Step
	if err := json.Unmarshal(b, &again); err != nil {
		return ""
	}
	if b, err = json.Marshal(again); err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Arg is exactly one of: a literal, or outputs of other steps.
type Arg struct {
	Is any      `json:"is,omitempty"` // JSON-shaped
	Of []Output `json:"of,omitempty"` // one: its value as it is; several, or List: one flat list
	// List makes a list even of a single output.
	List bool `json:"list,omitempty"`
}

// Output names a value that a step will give: "server/collector-1" and "address".
type Output struct {
	Step StepID `json:"step"`
	Name string `json:"name"`
}

// Lit makes a literal.
func Lit(v any) Arg { return Arg{Is: v} }

// From makes a reference to one output.
func From(s StepID, name string) Arg { return Arg{Of: []Output{{s, name}}} }

// FromAll makes one flat list of the same output of several steps.
func FromAll(name string, steps ...StepID) Arg {
	a := Arg{List: true}
	for _, s := range steps {
		a.Of = append(a.Of, Output{s, name})
	}
	return a
}

// Values are a step's arguments once known, or its outputs. They are JSON-shaped and hold no secret.
type Values map[string]any

// Decode fills into, a pointer to a struct with json tags. Unknown names are an error: a step and its
// handler that disagree must not fail in silence.
func (v Values) Decode(into any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}

// Text gives a string, or "" where there is none.
func (v Values) Text(name string) string {
	s, _ := v[name].(string)
	return s
}

// List gives a list of strings; a single string is a list of one.
func (v Values) List(name string) []string {
	switch x := v[name].(type) {
	case string:
		return []string{x}
	case []string:
		return x
	case []any:
		out := make([]string, 0, len(x))
		for _, e := range x {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// Resolve gives the arguments of the step's attempt (0 is the first), with every output looked up in done.
func (s Step) Resolve(attempt int, done map[StepID]Values) (Values, error) {
	args := s.With
	if attempt > 0 {
		if attempt > len(s.Ladder) {
			return nil, fmt.Errorf("%s has no attempt %d", s.ID, attempt+1)
		}
		args = map[string]Arg{}
		maps.Copy(args, s.With)
		maps.Copy(args, s.Ladder[attempt-1])
	}
	in := make(Values, len(args))
	for name, a := range args {
		if len(a.Of) == 0 && !a.List {
			in[name] = a.Is
			continue
		}
		list := []any{}
		for _, o := range a.Of {
			out, ok := done[o.Step]
			if !ok && s.partial() {
				continue
			}
			if !ok {
				return nil, fmt.Errorf("%s needs %s of %s, which is not done", s.ID, o.Name, o.Step)
			}
			v, ok := out[o.Name]
			if !ok {
				return nil, fmt.Errorf("%s needs %s of %s, which does not give it", s.ID, o.Name, o.Step)
			}
			if !a.List && len(a.Of) == 1 {
				in[name] = v
				break
			}
			switch x := v.(type) {
			case []any:
				list = append(list, x...)
			case []string:
				for _, e := range x {
					list = append(list, e)
				}
			default:
				list = append(list, x)
			}
		}
		if a.List || len(a.Of) > 1 {
			in[name] = list
		}
	}
	return in, nil
}

// partial says that the step does without the outputs of needs that are not done.
func (s Step) partial() bool { return s.Quorum != nil || s.Clears }

// State is how far a step's effect holds.
type State string

// The states that a Check can find.
const (
	Absent  State = "absent"  // nothing of it: Do is next
	Working State = "working" // started, not there yet
	Done    State = "done"
	Failed  State = "failed" // will never be there: this attempt is over
)

// Status is what a Check found.
type Status struct {
	State State
	Out   Values // of a step that is Done; of a Failed one, what its Undo needs (an id)
	Seen  string // the provider's own words: "BUILD (spawning)"
	// Again is when it is worth looking again; 0: the engine's own pace.
	Again time.Duration
}

// Duration is a time.Duration that JSON shows as "1m30s".
type Duration time.Duration

// String is time.Duration's.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText gives "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "1m30s".
func (d *Duration) UnmarshalText(b []byte) error {
	x, err := time.ParseDuration(string(b))
	*d = Duration(x)
	return err
}

// Graph is all steps of a run. What a dry run prints is the value that the engine runs.
type Graph struct {
	Service string `json:"service"`
	Region  string `json:"region"`
	Home    string `json:"home,omitempty"`
	Purpose string `json:"purpose"` // "failover", "abandon", "back", "deliver"
	Of      RunID  `json:"of,omitempty"`
	Steps   []Step `json:"steps"`
}

// Step finds a step by its id.
func (g Graph) Step(id StepID) (Step, bool) {
	return find(g.Steps, string(id), func(s Step) string { return string(s.ID) })
}

// Check reports steps named twice, needs that no step answers, outputs taken from a step that is not
// needed, needs that may be given up, and circles.
func (g Graph) Check() error {
	at := make(map[StepID]int, len(g.Steps))
	for i, s := range g.Steps {
		if _, twice := at[s.ID]; twice {
			return fmt.Errorf("step %s is there twice", s.ID)
		}
		at[s.ID] = i
	}
	for _, s := range g.Steps {
		for _, n := range s.Needs {
			i, ok := at[n]
			if !ok {
				return fmt.Errorf("step %s needs %s, which does not exist", s.ID, n)
			}
			if slot := g.Steps[i].Slot; slot != "" && slot != s.Slot && s.Quorum == nil {
				return fmt.Errorf("step %s needs %s, whose slot %s may be given up, without a quorum", s.ID, n, slot)
			}
		}
		for name, a := range s.With {
			for _, o := range a.Of {
				if !slices.Contains(s.Needs, o.Step) {
					return fmt.Errorf("step %s takes %s from %s without needing it", s.ID, name, o.Step)
				}
			}
		}
	}
	_, err := g.Order()
	return err
}

// Order gives the ids so that each comes after all that it needs; among equals, the graph's own order holds.
func (g Graph) Order() ([]StepID, error) {
	left := make(map[StepID]int, len(g.Steps))
	after := make(map[StepID][]int, len(g.Steps))
	for i, s := range g.Steps {
		left[s.ID] = len(s.Needs)
		for _, n := range s.Needs {
			after[n] = append(after[n], i)
		}
	}
	var ready []int
	for i, s := range g.Steps {
		if len(s.Needs) == 0 {
			ready = append(ready, i)
		}
	}
	out := make([]StepID, 0, len(g.Steps))
	for len(ready) > 0 {
		s := g.Steps[ready[0]]
		ready = ready[1:]
		out = append(out, s.ID)
		for _, i := range after[s.ID] {
			id := g.Steps[i].ID
			if left[id]--; left[id] == 0 {
				ready = append(ready, i)
			}
		}
	}
	if len(out) == len(g.Steps) {
		return out, nil
	}
	var stuck []string
	for _, s := range g.Steps {
		if left[s.ID] > 0 {
			stuck = append(stuck, string(s.ID))
		}
	}
	return nil, fmt.Errorf("these steps wait for each other in a circle: %s", strings.Join(stuck, ", "))
}
