// Package scheduler decides what runs where and when: a provider's [Floor] says
// which devices an order can have, a client's [Job] takes one job from its
// candidates to its end, elsewhere again if a provider is lost, and a provider's
// [Tenancy] takes one lease from its signatures to its last receipt.
//
// It is pure: nothing here starts a goroutine, reads a clock or does I/O. No
// device is ever in two leases; every hold, lease and state has a deadline; and
// every end has a typed reason. A Floor, a Job and a Tenancy have one owner each.
package scheduler
