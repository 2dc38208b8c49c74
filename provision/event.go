package provision

import "time"

// RunID names a run: a ULID, which sorts by time. Commands accept any unambiguous beginning of it.
type RunID string

// Short is the beginning that people type.
func (r RunID) Short() string {
	if len(r) > 10 {
		return string(r[:10])
	}
	return string(r)
}

// EventVersion is the v of every event. It grows only when a field changes its meaning or goes.
const EventVersion = 1

// EventType says what an event tells.
type EventType string

// The types of events. docs/json.md describes each.
const (
	RunStarted  EventType = "run.started"  // Graph, User, Host
	RunResumed  EventType = "run.resumed"  // User, Host
	LeaseTaken  EventType = "lease.taken"  // Message; User, Host: whose lock it was
	StepIntent  EventType = "step.intent"  // about to send what changes something
	StepSent    EventType = "step.sent"    // it was answered; Error when it was refused or its fate is unknown
	StepSeen    EventType = "step.seen"    // progress; not journaled
	StepDone    EventType = "step.done"    // Out
	StepFailed  EventType = "step.failed"  // Error; Final when no rung is left
	StepCleared EventType = "step.cleared" // what a failed attempt had left is gone
	StepSkipped EventType = "step.skipped" // Message: why: its slot was given up; Out: what is known of its effect
	Stopping    EventType = "run.stopping" // nothing new is scheduled
	RunEnded    EventType = "run.ended"    // Outcome
	// RunAbandoned says that another run (Message) has begun to undo this one: it is never gone on with.
	RunAbandoned EventType = "run.abandoned"
	Note         EventType = "note"    // Message, for people
	Found        EventType = "finding" // Finding
	Planned      EventType = "plan"    // Graph: what a run would do; not journaled
	// Of a check, which has no run and no journal.
	PlaceTried EventType = "place"  // Place
	RegionSeen EventType = "region" // Verdict
)

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone    Outcome = "done"
	OutcomeFailed  Outcome = "failed"  // a step failed for good
	OutcomeStopped Outcome = "stopped" // resumable
)

// Event is one thing that happened: the line of the journal, of --json, and what views draw. Readers
// ignore fields that they do not know.
type Event struct {
	V    int       `json:"v"`
	Seq  int       `json:"seq,omitempty"` // in the journal, from 1
	Time time.Time `json:"time"`
	Run  RunID     `json:"run,omitempty"`
	Type EventType `json:"type"`

	Step    StepID  `json:"step,omitempty"`
	Kind    Kind    `json:"kind,omitempty"`
	Attempt int     `json:"attempt,omitempty"` // from 1
	Seen    string  `json:"seen,omitempty"`
	Out     Values  `json:"out,omitempty"`
	Took    float64 `json:"took,omitempty"` // seconds, of the step
	Final   bool    `json:"final,omitempty"`

	Error   *Error   `json:"error,omitempty"`
	Finding *Finding `json:"finding,omitempty"`
	Message string   `json:"message,omitempty"`
	Outcome Outcome  `json:"outcome,omitempty"`

	Place   *Place   `json:"place,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`

	Graph *Graph `json:"graph,omitempty"`
	User  string `json:"user,omitempty"`
	Host  string `json:"host,omitempty"`
	Plan  string `json:"plan,omitempty"`   // path of the plan
	PlanD string `json:"digest,omitempty"` // its SHA-256
	// StepD is the Digest of the step that a step.intent is about.
	StepD string `json:"step_digest,omitempty"`
	// Adopted says of a run.started that the journal of before was lost: this one was begun from the tags that were
	// found in the region, and Message tells what was there.
	Adopted bool `json:"adopted,omitempty"`
}
