// Package money keeps a node's channels, receipts and keys, and holds its ledger
// against the chain: deposits, claims, refunds and anchors.
//
// A channel changes in the ledger before it changes here, one step at a time, so
// that no promise is spoken that a restart would forget. What the chain says is
// read again and again and never taken from events. Waiting for the chain holds
// up nothing that is about another deposit or another channel.
//
// A reader opens lease.go (what both sides of a lease agree on), channels.go,
// receipts.go and keybinding.go, then keeper.go with deposits.go, claims.go and
// anchors.go.
package money
