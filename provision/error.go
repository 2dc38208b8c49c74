package provision

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Class says what the engine may do about an error.
type Class string

// Everything that is not classed is Final.
const (
	// Final: asking again would give the same answer.
	Final Class = "final"
	// Transient: nothing was changed and asking again may work (429, 413 with a wait, 503, a refused connection).
	Transient Class = "transient"
	// Unknown: the request may have taken effect (timeout, reset, 500 on a write). Only looking tells.
	Unknown Class = "unknown"
)

// Error says what, on which thing, why, and what to type next. Each layer fills only what it knows.
type Error struct {
	Thing string        `json:"thing,omitempty"` // "server/collector-2"
	What  string        `json:"what"`
	Said  string        `json:"said,omitempty"` // "nova: No valid host was found."
	Hint  string        `json:"hint,omitempty"`
	Class Class         `json:"class,omitempty"`
	After time.Duration `json:"-"` // what Retry-After asked for
	Err   error         `json:"-"`
}

// Error gives one line, without the hint.
func (e *Error) Error() string {
	s := e.What
	if e.Thing != "" {
		s = e.Thing + ": " + s
	}
	if e.Said != "" {
		s += ": " + e.Said
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf finds the class of the first Error in the chain that has one. A context's end is Unknown.
func ClassOf(err error) Class {
	for e := err; e != nil; {
		var pe *Error
		if !errors.As(e, &pe) {
			break
		}
		if pe.Class != "" {
			return pe.Class
		}
		e = pe.Err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unknown
	}
	return Final
}

// AsError gives err as an *Error, wrapping it where it is none.
func AsError(thing string, err error) *Error {
	var pe *Error
	if errors.As(err, &pe) {
		out := *pe
		// What was wrapped around it is said before it.
		if outer, ok := strings.CutSuffix(err.Error(), pe.Error()); ok {
			out.What = outer + out.What
		}
		if out.Class == "" {
			out.Class = ClassOf(err)
		}
		if out.Thing == "" {
			out.Thing = thing
		}
		if out.Err != nil { // the chain's text, for journals that keep no chain
			out.Said = joinSaid(out.Said, out.Err.Error())
			out.Err = nil
		}
		return &out
	}
	return &Error{Thing: thing, What: err.Error(), Class: ClassOf(err)}
}

func joinSaid(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + ": " + b
}
