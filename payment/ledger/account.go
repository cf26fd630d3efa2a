package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk"
)

// Account is where money is, or where it came from or went. Its kind, the part
// before a colon, decides how its balance is read and whether it has a floor.
type Account string

// The accounts that every node has.
const (
	Wallet   Account = "wallet"   // asset: tokens on the node's own address
	External Account = "external" // source of what came in, less what went out
	Spent    Account = "spent"    // expense: what jobs cost this node
	Earned   Account = "earned"   // income: what jobs brought this node
)

// Channel is the client's escrow on a channel, an asset.
func Channel(id souk.ChannelID) Account { return Account("channel:" + id.String()) }

// Receivable is what a provider may claim on a channel, an asset.
func Receivable(id souk.ChannelID) Account { return Account("receivable:" + id.String()) }

// Owed is what a client has used of a channel and the provider not yet claimed,
// a liability.
func Owed(id souk.ChannelID) Account { return Account("owed:" + id.String()) }

// kind is the part of a that decides its side and floor.
func (a Account) kind() string {
	kind, _, _ := strings.Cut(string(a), ":")
	return kind
}

// credit tells whether a's balance is its credits less its debits.
func (a Account) credit() bool {
	switch a.kind() {
	case "external", "earned", "owed":
		return true
	}
	return false
}

// floored tells whether a's balance may not go below zero.
func (a Account) floored() bool {
	switch a.kind() {
	case "wallet", "channel", "receivable", "owed":
		return true
	}
	return false
}

// balance reads net, debits less credits, the way a is read.
func (a Account) balance(net souk.Atoms) souk.Atoms {
	if a.credit() {
		return -net
	}
	return net
}

// Transfer moves Amount from Credit to Debit: a deposit debits a channel and
// credits the wallet.
type Transfer struct {
	ID     [16]byte // applies once, see [TransferID]
	Debit  Account
	Credit Account
	Amount souk.Atoms // above zero
	Kind   string     // "deposit", "usage", "claim", …
	Ref    string     // what it was for: a lease, a receipt, a transaction
	At     time.Time  // kept to the millisecond
}

// TransferID derives a transfer's id from what makes it the only one of its
// kind, so that a retry has the same: the SHA-256 of the parts, each after its
// length, cut to 16 bytes.
func TransferID(kind string, parts ...[]byte) (id [16]byte) {
	h := sha256.New()
	for _, p := range append([][]byte{[]byte(kind)}, parts...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	copy(id[:], h.Sum(nil))
	return id
}

// same tells whether t and u say the same. A retry may come later, so the time
// does not count.
func (t Transfer) same(u Transfer) bool {
	t.At = u.At
	return t == u
}

// maxText bounds each text of a transfer and each key of a record.
const maxText = 512

func (t Transfer) check() error {
	switch {
	case t.Amount <= 0:
		return fmt.Errorf("amount %s: %w", t.Amount, ErrBatch)
	case t.Debit == "" || t.Credit == "" || t.Debit == t.Credit:
		return fmt.Errorf("accounts %q and %q: %w", t.Debit, t.Credit, ErrBatch)
	case max(len(t.Debit), len(t.Credit), len(t.Kind), len(t.Ref)) > maxText:
		return fmt.Errorf("text past %d bytes: %w", maxText, ErrBatch)
	}
	return nil
}
