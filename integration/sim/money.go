package sim

import (
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// domain is the payment domain of every simulated channel.
var domain = payment.EIP712Domain{ChainID: 1337, Settlement: payment.Address{1}}

// chain stands in for the chain: a table of balances. It is never wrong and
// never down; how long a deposit takes is the provider's to wait.
type chain struct {
	wallet    map[int]souk.Atoms            // by node
	escrow    map[souk.ChannelID]souk.Atoms // deposits less claims
	deposited map[souk.LeaseID]bool         // an authorization counts once
	minted    souk.Atoms
}

func newChain() chain {
	return chain{map[int]souk.Atoms{}, map[souk.ChannelID]souk.Atoms{}, map[souk.LeaseID]bool{}, 0}
}

func (c *chain) mint(node int, amount souk.Atoms) {
	c.wallet[node] += amount
	c.minted += amount
}

// deposit moves what a client authorized with a lease; false where the wallet is short.
func (c *chain) deposit(from int, to souk.ChannelID, l souk.LeaseID, amount souk.Atoms) bool {
	switch {
	case c.deposited[l]:
		return true
	case c.wallet[from] < amount:
		return false
	}
	c.deposited[l] = true
	c.wallet[from] -= amount
	c.escrow[to] += amount
	return true
}

// claim pays a provider, who must hold a voucher over as much; the rest goes
// back to the client.
func (c *chain) claim(id souk.ChannelID, provider, client int, amount souk.Atoms) bool {
	rest := c.escrow[id] - amount
	if rest < 0 {
		return false
	}
	delete(c.escrow, id)
	c.wallet[provider] += amount
	c.wallet[client] += rest
	return true
}

func (c *chain) sum() (total souk.Atoms) {
	for _, a := range c.wallet {
		total += a
	}
	for _, a := range c.escrow {
		total += a
	}
	return total
}

// share is what one lease has of a channel.
type share struct {
	paid, reserve, deposit souk.Atoms
}

// account is one side of a channel: a Tab, and beside it the same sums kept in
// the plainest way, which are what survives a crash.
type account struct {
	w       *world
	channel souk.ChannelID
	tab     *payment.Tab
	max     souk.Atoms // of the vouchers signed or seen
	past    souk.Atoms // due on leases that are over
	shares  map[souk.LeaseID]share
}

func newAccount(client, provider *node) *account {
	ch := payment.Channel{WithdrawDelay: 86400, Salt: client.w.digest("channel %d %d", client.index, provider.index),
		Payer: payment.Address(client.id[:20]), PayerAuthorizer: payment.Address(client.id[12:]),
		Receiver: payment.Address(provider.id[:20]), ReceiverAuthorizer: payment.Address(provider.id[12:]), Token: payment.Address{2}}
	return &account{w: client.w, channel: ch.ID(domain), tab: payment.NewTab(0, nil), shares: map[souk.LeaseID]share{}}
}

// restore is what a restart makes of an account.
func (a *account) restore() {
	shares := map[souk.LeaseID]souk.Atoms{{}: a.past}
	for id, s := range a.shares {
		shares[id] = s.paid
	}
	a.tab = payment.NewTab(a.max, shares)
	a.check()
}

// room is what may still be reserved, counting deposits on their way.
func (a *account) room() souk.Atoms {
	room := a.w.chain.escrow[a.channel] - a.past
	for id, s := range a.shares {
		if room -= s.reserve; !a.w.chain.deposited[id] {
			room += s.deposit
		}
	}
	return room
}

// promise raises a lease's share at the client; the result is the next voucher.
func (a *account) promise(l souk.LeaseID, paid souk.Atoms) souk.Atoms {
	total, err := a.tab.Promise(l, paid)
	if err != nil {
		a.w.fail(err.Error())
	}
	a.raise(l, paid)
	a.max = max(a.max, total)
	a.check()
	return total
}

// show raises a lease's share at the provider, shown a voucher over voucherMax.
func (a *account) show(l souk.LeaseID, paid, voucherMax souk.Atoms) error {
	a.max = max(a.max, voucherMax)
	if err := a.tab.Show(l, paid, voucherMax); err != nil {
		return err
	}
	a.raise(l, paid)
	a.check()
	return nil
}

func (a *account) raise(l souk.LeaseID, paid souk.Atoms) {
	s := a.shares[l]
	s.paid = max(s.paid, paid)
	a.shares[l] = s
}

// settle fixes the share of a lease that is over.
func (a *account) settle(l souk.LeaseID, due souk.Atoms) {
	s, ok := a.shares[l]
	if !ok {
		return
	}
	a.tab.Settle(l, due)
	a.past += min(due, s.paid)
	delete(a.shares, l)
	a.check()
}

// check holds the Tab against the plain sums.
func (a *account) check() {
	total := a.past
	for _, s := range a.shares {
		total += s.paid
	}
	if a.tab.Total() != total || a.tab.Max() != a.max || total > a.max {
		a.w.failf("the tab of channel %s has %d of vouchers over %d, its leases add up to %d of %d",
			a.channel.Short(), a.tab.Total(), a.tab.Max(), total, a.max)
	}
}

// price is what a time costs, at most the reserve.
func price(t payment.Terms, ms int64) souk.Atoms {
	due, err := payment.Due(t.PriceAtomsPerHour, uint64(t.Devices)*uint64(ms))
	if err != nil {
		panic(err) // the amounts here are far from overflow
	}
	return due
}
