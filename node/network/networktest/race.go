//go:build race

package networktest

// Slow is how much longer than without the race detector a peer is waited for in
// tests, and how many lies are left out for each that is told.
const Slow = 4
