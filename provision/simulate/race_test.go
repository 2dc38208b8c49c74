//go:build race

package simulate

// Under the race detector goroutines fall in random order, and everything takes ten times as long.
func init() { raced = true }
