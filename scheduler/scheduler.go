// Package scheduler decides what runs where and when: a provider's [Floor] says
// which devices an order can have, and a client's [Attempt] takes one job from
// its candidates to its end, elsewhere again if a provider is lost.
//
// It is pure: nothing here starts a goroutine, reads a clock or does I/O. No
// device is ever in two leases; every hold, lease and state has a deadline; and
// every end has a typed reason. A Floor and an Attempt have one owner at a time.
package scheduler
