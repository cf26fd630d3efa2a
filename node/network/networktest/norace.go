//go:build !race

package networktest

// Slow is how many times longer a test waits for a peer than without the race
// detector, and by what it divides the lies that it tells.
const Slow = 1
