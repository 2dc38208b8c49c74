// Package journal keeps one run's events where they survive the process, and gives them back.
//
// An event is one line of JSON. Append returns when the line is on stable storage; appends that come
// together share one write. A journal holds no secret: its events hold none. It must never lose an event
// that it accepted, and never rewrite one.
package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/store"
)

// Store is what a journal needs of a store.
type Store interface {
	Read(ctx context.Context, key string) ([]byte, error)
	Append(ctx context.Context, key string, b []byte) error
	List(ctx context.Context, prefix string) ([]string, error)
}

// Key gives the key of a run's journal.
func Key(service string, run provision.RunID) string {
	return path.Join(service, "runs", string(run)+".jsonl")
}

// Journal is one run's, open for writing. It is safe for concurrent use.
type Journal struct {
	store Store
	key   string

	mu      sync.Mutex
	seq     int
	pending []byte
	waiters []chan error
	writing bool
	broken  error // after a failed write nothing more is accepted: the order would be a lie
}

// Open gives the journal of a run, to be added to after its last event (0 for a new run).
func Open(s Store, service string, run provision.RunID, last int) *Journal {
	return &Journal{store: s, key: Key(service, run), seq: last}
}

// Append numbers the event and returns it when it is durable. Clean-up may need to write after the run's
// context has ended, so the context only bounds the wait for storage.
func (j *Journal) Append(ctx context.Context, e provision.Event) (provision.Event, error) {
	j.mu.Lock()
	if j.broken != nil {
		j.mu.Unlock()
		return e, j.broken
	}
	j.seq++
	e.Seq = j.seq
	line, err := json.Marshal(e)
	if err != nil {
		j.seq--
		j.mu.Unlock()
		return e, fmt.Errorf("journal: an event does not marshal: %w", err)
	}
	done := make(chan error, 1)
	j.pending = append(append(j.pending, line...), '\n')
	j.waiters = append(j.waiters, done)
	if !j.writing {
		j.writing = true
		go j.flush(context.WithoutCancel(ctx))
	}
	j.mu.Unlock()
	return e, <-done
}

// flush writes what has gathered until nothing is left.
func (j *Journal) flush(ctx context.Context) {
	for {
		j.mu.Lock()
		b, ws := j.pending, j.waiters
		j.pending, j.waiters = nil, nil
		if len(ws) == 0 {
			j.writing = false
			j.mu.Unlock()
			return
		}
		err := j.broken
		j.mu.Unlock()
		if err == nil {
			wctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			err = j.store.Append(wctx, j.key, b)
			cancel()
			if err != nil {
				hint := "make room or mend the folder, then: failover resume"
				if errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrAway) {
					hint = "failover status --follow shows who is at work; then: failover resume"
				}
				err = &provision.Error{Thing: "journal", What: "cannot record the run in " + j.key, Err: err, Hint: hint}
				j.mu.Lock()
				j.broken = err
				j.mu.Unlock()
			}
		}
		for _, w := range ws {
			w <- err
		}
	}
}

// Start writes the first events of a run's journal at once, numbered from 1; store.ErrExists where the run has a
// journal already. It is for one who holds the lease.
func Start(ctx context.Context, s Store, service string, run provision.RunID, events []provision.Event) error {
	key := Key(service, run)
	switch _, err := s.Read(ctx, key); {
	case err == nil:
		return store.ErrExists
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	var b []byte
	for i, e := range events {
		e.Seq = i + 1
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("journal: an event does not marshal: %w", err)
		}
		b = append(append(b, line...), '\n')
	}
	return s.Append(ctx, key, b)
}

// Read gives a run's events in order. A last line without its newline was torn by a crash and is left
// out: it was never acknowledged. Anything else that does not parse is an error that names the line.
func Read(ctx context.Context, s Store, service string, run provision.RunID) ([]provision.Event, error) {
	b, err := s.Read(ctx, Key(service, run))
	if err != nil {
		return nil, err
	}
	return Parse(b)
}

// Parse is Read without a store.
func Parse(b []byte) ([]provision.Event, error) {
	var out []provision.Event
	for n := 1; ; n++ {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return out, nil
		}
		line := b[:i]
		b = b[i+1:]
		var e provision.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return out, fmt.Errorf("journal: line %d does not parse: %w", n, err)
		}
		if e.V > provision.EventVersion {
			return out, fmt.Errorf("journal: line %d has version %d; this failover knows %d: use the newer one that wrote it", n, e.V, provision.EventVersion)
		}
		// Our stores take no line of a process after its successor's. Where a folder's own locks do not hold, one may be there all the
		// same, with a number that is taken: the order of the file is the order that counts.
		if e.Seq > n {
			return out, fmt.Errorf("journal: line %d has number %d: lines are missing", n, e.Seq)
		}
		e.Seq = n
		out = append(out, e)
	}
}

// Entry is a run that a store knows.
type Entry struct {
	Service string
	Run     provision.RunID
}

// Runs gives the runs of a service (all services where it is empty), oldest first.
func Runs(ctx context.Context, s Store, service string) ([]Entry, error) {
	prefix := ""
	if service != "" {
		prefix = service + "/"
	}
	keys, err := s.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, k := range keys {
		svc, rest, _ := strings.Cut(k, "/runs/")
		if run, ok := strings.CutSuffix(rest, ".jsonl"); ok && !strings.Contains(run, "/") {
			out = append(out, Entry{svc, provision.RunID(run)})
		}
	}
	return out, nil
}

// ErrNoRun says that no run has that beginning, ErrManyRuns that more than one has.
var (
	ErrNoRun    = errors.New("there is no such run")
	ErrManyRuns = errors.New("give more of it")
)

// Find gives the run of a service whose id begins with prefix, case aside; the latest for an empty prefix.
func Find(ctx context.Context, s Store, service, prefix string) (Entry, error) {
	runs, err := Runs(ctx, s, service)
	if err != nil {
		return Entry{}, err
	}
	var hits []Entry
	for _, r := range runs {
		if strings.HasPrefix(string(r.Run), strings.ToUpper(prefix)) {
			hits = append(hits, r)
		}
	}
	switch {
	case len(hits) == 0:
		return Entry{}, ErrNoRun
	case prefix != "" && len(hits) > 1:
		return Entry{}, fmt.Errorf("%d runs begin with %s: %w", len(hits), prefix, ErrManyRuns)
	}
	return hits[len(hits)-1], nil
}
