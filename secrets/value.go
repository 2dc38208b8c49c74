// Package secrets turns a reference that a plan may print into a value that nothing may print.
//
// A Ref says where a secret lives and travels freely: through steps, journals and events. A Value is
// the secret itself; every way that Go has of turning it into text gives a placeholder. Certificate is
// a chain with the private key that belongs to it, checked. Backends live in folders below this one.
//
// The package never logs, and imports nothing of this module.
package secrets

import (
	"fmt"
	"log/slog"
)

// Placeholder is what a Value shows instead of itself.
const Placeholder = "(secret)"

// Ref names a secret without holding it: the name of a secrets block of the plan, and a path in that
// backend. It is safe to print, to journal and to compare.
type Ref struct {
	Store string `json:"store"`
	Path  string `json:"path"`
}

// String gives the form "store:path".
func (r Ref) String() string { return r.Store + ":" + r.Path }

// Value holds secret bytes and shows them only through Bytes. It is kept behind a pointer so that
// copies of a Value share one buffer, and Wipe clears it for all of them.
type Value struct{ b *[]byte }

// NewValue takes ownership of b: the caller must not use it afterwards.
func NewValue(b []byte) Value { return Value{b: &b} }

// Bytes gives the secret itself, not a copy: do not keep it beyond the use at hand, do not convert it to a string.
// The zero Value gives nil.
func (v Value) Bytes() []byte {
	if v.b == nil {
		return nil
	}
	return *v.b
}

// IsZero reports whether there is nothing inside.
func (v Value) IsZero() bool { return v.b == nil || len(*v.b) == 0 }

// Wipe overwrites the bytes with zeros and lets go of them. Go's collector may have moved earlier
// copies of a slice while it grew; backends therefore read into buffers of the right size.
func (v Value) Wipe() {
	if v.b == nil {
		return
	}
	clear(*v.b)
	*v.b = nil
}

// String, GoString, Format, MarshalJSON, MarshalText and LogValue all give the placeholder, so that
// %v, %+v, %#v, %x, encoding/json and log/slog cannot leak what is inside.
func (v Value) String() string { return Placeholder }

// GoString is the placeholder.
func (v Value) GoString() string { return Placeholder }

// Format writes the placeholder for every verb and flag.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Placeholder)) }

// MarshalText is the placeholder.
func (v Value) MarshalText() ([]byte, error) { return []byte(Placeholder), nil }

// MarshalJSON is the placeholder, quoted.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Placeholder + `"`), nil }

// LogValue is the placeholder.
func (v Value) LogValue() slog.Value { return slog.StringValue(Placeholder) }
