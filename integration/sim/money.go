package sim

import (
	"encoding/json"
	"slices"
	"strings"

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

// account is one side of a channel, and what the simulation checks of it.
type account struct {
	payment.Account
	w       *world
	channel souk.ChannelID
	highest souk.Atoms // of the vouchers signed or seen
}

func newAccount(client, provider *node, paying bool) *account {
	ch := payment.Channel{WithdrawDelay: 86400, Salt: client.w.digest("channel %d %d", client.index, provider.index),
		Payer: payment.Address(client.id[:20]), PayerAuthorizer: payment.Address(client.id[12:]),
		Receiver: payment.Address(provider.id[:20]), ReceiverAuthorizer: payment.Address(provider.id[12:]), Token: payment.Address{2}}
	id := ch.ID(domain)
	return &account{Account: payment.NewAccount(id, paying), w: client.w, channel: id}
}

// restore is what a restart makes of an account: what was stored of it.
func (a *account) restore() {
	stored, err := json.Marshal(a.Account)
	if err == nil {
		a.Account = payment.Account{}
		err = json.Unmarshal(stored, &a.Account)
	}
	if err != nil {
		a.w.failf("restore channel %s: %v", a.channel.Short(), err)
	}
	a.check()
}

// read brings an account up to what the chain says.
func (a *account) read() {
	now := payment.OnChain{Balance: a.w.chain.escrow[a.channel]}
	if !now.Same(a.OnChain) {
		a.Read(now, 0)
	}
}

// free is what may still be reserved, as of the chain's present state.
func (a *account) free() souk.Atoms {
	a.read()
	return a.Free()
}

// promise raises a lease's share at the client; the result is the next voucher,
// which it signs.
func (a *account) promise(l souk.LeaseID, paid souk.Atoms) payment.Voucher {
	total, err := a.Promise(l, paid)
	if err != nil {
		a.w.fail(err.Error())
	}
	v := payment.Voucher{Channel: a.channel, MaxClaimable: total}
	a.Take(v)
	a.check()
	return v
}

// check holds the account against the plain sum of its shares.
func (a *account) check() {
	total := a.Past
	for _, s := range a.Leases {
		if total += s.Paid; s.Due > s.Paid {
			a.w.failf("channel %s: %d due on a lease, %d paid", a.channel.Short(), s.Due, s.Paid)
		}
	}
	if a.Vouched() != total || total > a.Voucher.MaxClaimable || a.Voucher.MaxClaimable < a.highest {
		a.w.failf("the account of channel %s has %d of vouchers over %d, its leases add up to %d, and a voucher over %d was signed",
			a.channel.Short(), a.Vouched(), a.Voucher.MaxClaimable, total, a.highest)
	}
	a.highest = a.Voucher.MaxClaimable
}

// price is what a time costs, at most the reserve.
func price(t payment.Terms, ms int64) souk.Atoms {
	quantities := make([]uint64, len(t.Tariff))
	for i := range t.Tariff {
		quantities[i] = uint64(devicesIn(t, i)) * uint64(ms)
	}
	due, err := t.Tariff.Due(quantities)
	if err != nil {
		panic(err) // the amounts here are far from overflow
	}
	return due
}

// devicesIn is how many devices a line of the tariff prices: those of its class, or all.
func devicesIn(t payment.Terms, line int) int {
	if class, ok := strings.CutPrefix(t.Tariff[line].Unit, payment.UnitDeviceMs+"/"); ok {
		return t.Devices[slices.IndexFunc(t.Devices, func(d payment.ClassCount) bool { return d.Class == class })].Count
	}
	return t.DeviceCount()
}
