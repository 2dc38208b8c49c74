package secrets

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Backend keeps certificates under paths. It is safe for concurrent use; making one asks nobody.
type Backend interface {
	// Certificate gives what is kept at path, whole, whether it is valid tonight or not: that is for preflight to
	// judge. ctx bounds all that it asks. No error holds a byte of a key. One that Elsewhere is true of says that there
	// is nothing to be had here (not reached, not let in, nothing at this path); every other one that what is here is
	// wrong.
	Certificate(ctx context.Context, path string) (*Certificate, error)
}

// Remarker is a Backend that has something to say about how a certificate is kept, once it gave it.
type Remarker interface {
	// Remarks is asked after Certificate for the same path. It makes no request of its own.
	Remarks(path string) []Remark
}

// Remark is one such thing: "the key lies in the open in tls/key.pem".
type Remark struct {
	Warn bool // more than a note
	What string
	Hint string // what to type next
}

// Error is what backends say: what, and what to type next.
type Error struct {
	What string
	Hint string
	// Away says that nothing is known of the certificate by this: it may be had elsewhere.
	Away bool
	// After is how long whoever answered wants to be left alone before the same is asked again; 0: it did not say.
	After time.Duration
	Err   error
}

// Error gives one line, without the hint.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.What
	case e.What == "":
		return e.Err.Error()
	}
	return e.What + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Elsewhere reports whether err says only that a certificate is not to be had here. The end of a context does.
func Elsewhere(err error) bool {
	for at := err; at != nil; {
		var e *Error
		if !errors.As(at, &e) {
			break
		}
		if e.Away {
			return true
		}
		at = e.Err
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// HintOf gives the first hint in the chain.
func HintOf(err error) string {
	for at := err; at != nil; {
		var e *Error
		if !errors.As(at, &e) {
			break
		}
		if e.Hint != "" {
			return e.Hint
		}
		at = e.Err
	}
	return ""
}

// Rung is one place of a ladder.
type Rung struct {
	Ref     Ref
	Backend Backend
	Names   []string // that the certificate must cover; an Issuer is asked for them
	Kept    bool     // what is kept alone: an Issuer is not asked whether it would issue
	// Ask asks a person for the passphrase of a key that is encrypted; nil: there is nobody to ask.
	Ask func(ctx context.Context, question string) (Value, error)
}

// Tried is what came of one rung: a certificate, an offer to issue one, or an error.
type Tried struct {
	Ref         Ref
	Certificate *Certificate // nil where there is an Offer
	Offer       *Offer
	Err         error
	Remarks     []Remark
}

// Got is a certificate, and where it is from.
type Got struct {
	Tried
	Passed []Tried // the rungs before it, each with its error
}

// LadderError says that no rung gave the certificate. The last of Tried is the one that ended it.
type LadderError struct{ Tried []Tried }

// Error names every rung.
func (e *LadderError) Error() string {
	s := ""
	for i, t := range e.Tried {
		if i > 0 {
			s += "; "
		}
		if len(e.Tried) > 1 {
			s += "secrets." + t.Ref.Store + ": "
		}
		s += t.Err.Error()
	}
	return s
}

// Unwrap gives every cause.
func (e *LadderError) Unwrap() []error {
	out := make([]error, len(e.Tried))
	for i, t := range e.Tried {
		out[i] = t.Err
	}
	return out
}

// Choose says what Climb would have given, of places that have all been tried.
func Choose(tried []Tried) (Got, error) {
	for i, t := range tried {
		if t.Err == nil {
			return Got{Tried: t, Passed: tried[:i]}, nil
		}
		if !Elsewhere(t.Err) {
			return Got{}, &LadderError{tried[:i+1]}
		}
	}
	return Got{}, &LadderError{tried}
}

// patience is how long a rung is waited for that has another one behind it.
const patience = 6 * time.Second

// Climb gives the certificate of the first rung that has it. A rung where it is not to be had is passed over; one that
// gives something wrong ends the climb with a *LadderError: what is wrong may be an attack or an accident, and is a
// person's to decide.
//
// pinned is the fingerprint of the one certificate that will do, which was judged before; "" takes what there is. With
// it every rung that does not give this certificate is passed over, whatever the reason.
func Climb(ctx context.Context, rungs []Rung, pinned string) (Got, error) {
	var tried []Tried
	for i, r := range rungs {
		t := r.try(ctx, i < len(rungs)-1, pinned == "") // what a run began with is not issued again
		if t.Err == nil && pinned != "" && t.Certificate.Fingerprint() != pinned {
			c := t.Certificate
			t = Tried{Ref: r.Ref, Err: &Error{What: fmt.Sprintf("it holds another certificate than the one that this run began with (SHA-256 %.16s…, expires %s; wanted %.16s…)",
				c.Fingerprint(), c.Leaf.NotAfter.UTC().Format(time.DateOnly), pinned),
				Hint: "put the former certificate back until the run is done, or abandon this run and start a new one"}}
			c.Key().Wipe()
		}
		if t.Err == nil {
			return Got{Tried: t, Passed: tried}, nil
		}
		tried = append(tried, t)
		if ctx.Err() != nil || pinned == "" && !Elsewhere(t.Err) {
			break
		}
	}
	if len(tried) == 0 {
		tried = []Tried{{Err: errors.New("the plan does not say where it is kept")}}
	}
	return Got{}, &LadderError{tried}
}

// Try asks one rung: for what it keeps, and of an Issuer that keeps nothing of use, whether it would issue. impatient
// bounds it: there is another one to ask.
func (r Rung) Try(ctx context.Context, impatient bool) Tried { return r.try(ctx, impatient, true) }

func (r Rung) try(ctx context.Context, impatient, offers bool) Tried {
	t := Tried{Ref: r.Ref}
	limit := ctx
	if impatient {
		var cancel context.CancelFunc
		limit, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	t.Certificate, t.Err = r.Backend.Certificate(limit, r.Ref.Path)
	late := func() {
		if t.Err != nil && limit.Err() != nil && ctx.Err() == nil {
			t.Err = &Error{Away: true, What: fmt.Sprintf("no answer within %s", patience), Err: t.Err}
		}
	}
	late()
	var locked *LockedError
	if errors.As(t.Err, &locked) && r.Ask != nil {
		t.Certificate, t.Err = locked.Open(ctx, "secrets."+r.Ref.Store, r.Ask) // a person is not hurried as a place is
	}
	if m, ok := r.Backend.(Remarker); ok && t.Err == nil {
		t.Remarks = m.Remarks(r.Ref.Path)
	}
	if issuer, ok := r.Backend.(Issuer); ok && offers && !r.Kept {
		t.ask(limit, issuer, r)
		late()
	}
	return t
}
