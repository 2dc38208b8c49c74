package provision

import "fmt"

// Weight says what a finding does to a run.
type Weight string

// Refuse stops before anything is changed; a warning never stops an emergency.
const (
	Refuse Weight = "refuse"
	Warn   Weight = "warn"
	Noted  Weight = "note"
)

// Finding is one thing that preflight saw.
type Finding struct {
	Weight Weight `json:"weight"`
	Check  string `json:"check"`           // "image", "quota", "certificate": a word of docs/preflight.md
	Thing  string `json:"thing,omitempty"` // "server.collector"
	What   string `json:"what"`
	Hint   string `json:"hint,omitempty"` // what to type next
	Pos    Pos    `json:"pos,omitzero"`
}

// String gives one line.
func (f Finding) String() string {
	s := f.What
	if f.Thing != "" {
		s = f.Thing + ": " + s
	}
	return fmt.Sprintf("%s: %s", f.Check, s)
}
