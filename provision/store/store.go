// Package store keeps bytes at keys: the ground that journals and leases stand on.
//
// Keys are relative slash paths ("dripstat/runs/01J….jsonl"). file/ keeps them in a folder of this
// machine, etcd/ where a team shares them, mirror/ in both. What a store accepted is on stable storage when
// the call returns. storetest/ is what every store must pass.
package store

import (
	"context"
	"errors"
)

// Errors that callers branch on.
var (
	ErrExists   = errors.New("the key exists already")
	ErrNotFound = errors.New("there is no such key")
	ErrChanged  = errors.New("the value was changed by someone else meanwhile")
	// ErrFenced is an ErrChanged: what the writer had to hold is another's by now.
	ErrFenced error = fenced{}
	// ErrAway says that a shared store does not answer, or not now.
	ErrAway = errors.New("the store does not answer")
)

type fenced struct{}

func (fenced) Error() string        { return "the lease that allows this write is another's by now" }
func (fenced) Is(target error) bool { return target == ErrChanged }

// Store is the whole contract; users declare the part that they need.
type Store interface {
	// Read gives the value, or ErrNotFound.
	Read(ctx context.Context, key string) ([]byte, error)
	// Swap puts next in the place of old, atomically. A nil old means that the key must not exist yet
	// (ErrExists), a nil next removes it; where the value is not old, ErrChanged.
	Swap(ctx context.Context, key string, old, next []byte) error
	// Append adds whole lines to the end of the value, making the key where needed; all of b or nothing is
	// kept. The end is the one that this store knows from its last Append, or else from its first Read or
	// Append: where someone else has added since, ErrChanged, so that two writers never interleave. After an
	// error the next Read finds the end anew.
	Append(ctx context.Context, key string, b []byte) error
	// List gives the keys below a prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Watcher is a store that can be waited on.
type Watcher interface {
	// Watch gives a channel that receives after the value of a key may have changed. It closes when the
	// context ends, or when the store no longer tells.
	Watch(ctx context.Context, key string) (<-chan struct{}, error)
}
