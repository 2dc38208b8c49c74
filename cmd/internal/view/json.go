package view

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/dripstat/failover/provision"
)

// JSON writes one event a line. docs/json.md describes them.
type JSON struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// NewJSON gives the view; it needs no model.
func NewJSON(out io.Writer) *JSON { return &JSON{enc: json.NewEncoder(out)} }

// Tell writes the event.
func (j *JSON) Tell(e provision.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.enc.Encode(e)
}

// End has nothing to add: run.ended was told.
func (j *JSON) End() {}
