package provision

import (
	"fmt"
	"time"
)

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

// Place is one of the places that a certificate of the plan may come from, tried by a check.
type Place struct {
	Certificate string     `json:"certificate"`        // the block's name
	Source      string     `json:"source"`             // "secrets.sealed"
	Region      string     `json:"region,omitempty"`   // where the place is another one in each region
	Works       bool       `json:"works"`              // a run would be content with what it gives
	Issue       bool       `json:"issue,omitempty"`    // it keeps none that will do, and would have one issued during a run
	Findings    []Finding  `json:"findings,omitempty"` // why not, and what there is to say beside
	NotAfter    *time.Time `json:"not_after,omitempty"`
	Fingerprint string     `json:"fingerprint,omitempty"` // SHA-256 of the leaf, hex
}

// Verdict is what preflight says of one region.
type Verdict struct {
	Region   string            `json:"region"`
	Works    bool              `json:"works"` // a run that is started now would begin
	Checks   int               `json:"checks"`
	Sources  map[string]string `json:"sources,omitempty"` // certificate → the place that it would come from
	Findings []Finding         `json:"findings,omitempty"`
}

// String gives one line.
func (f Finding) String() string {
	s := f.What
	if f.Thing != "" {
		s = f.Thing + ": " + s
	}
	return fmt.Sprintf("%s: %s", f.Check, s)
}
