// Package store keeps bytes at keys: the ground that journals and leases stand on.
//
// Keys are relative slash paths ("dripstat/runs/01J….jsonl"). file/ keeps them in a folder of this
// machine. What a store accepted is on stable storage when the call returns.
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
)

// Store is the whole contract; users declare the part that they need.
type Store interface {
	// Read gives the value, or ErrNotFound.
	Read(ctx context.Context, key string) ([]byte, error)
	// Swap puts next in the place of old, atomically. A nil old means that the key must not exist yet
	// (ErrExists), a nil next removes it; where the value is not old, ErrChanged.
	Swap(ctx context.Context, key string, old, next []byte) error
	// Append adds to the end of the value, making the key where needed; all of b or nothing is kept.
	Append(ctx context.Context, key string, b []byte) error
	// List gives the keys below a prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
}
