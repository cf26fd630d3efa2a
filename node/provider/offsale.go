package provider

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/payment/ledger"
)

const (
	quietFor       = 30 * time.Second // without an incident, before a device is checked
	checkAgain     = 10 * time.Second // after a check that was not passed
	suspectClients = 3                // whose jobs meet the same error in a row, until it is the device's
)

// offSale is the devices that are kept off sale after a fault, until they pass their
// check, and whose jobs met the same error on each. It is pure: what changed must be
// made durable by who changes it.
type offSale struct {
	rows    map[string]*fault   // by device
	strikes map[string][]strike // by device, oldest first, of different clients
}

// fault is why a device is off sale.
type fault struct {
	Kind  string    `json:"kind"`
	What  string    `json:"what"` // for people
	Blame gpu.Blame `json:"blame"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`            // the newest incident
	Reset bool      `json:"reset,omitempty"` // only a restart of the driver, or its own word, mends it
	Boot  string    `json:"boot,omitempty"`  // of the machine, at that time
	Lease string    `json:"lease,omitempty"` // whose container the engine has not ended yet; empty: none
	tried time.Time // when it was checked last
	wants string    // what its check said; empty: it was not checked
}

// strike is a job of one client that met an error which is a job's own.
type strike struct {
	Kind   string `json:"kind"`
	Client string `json:"client"`
}

func newOffSale() *offSale {
	return &offSale{rows: map[string]*fault{}, strikes: map[string][]strike{}}
}

// take keeps a device off sale. It tells whether that is news.
func (o *offSale) take(now time.Time, device, boot string, n gpu.Incident, lease string) bool {
	f := o.rows[device]
	news := f == nil
	if news {
		f = &fault{Since: now}
		o.rows[device] = f
	}
	f.Last = now
	reset := n.OffSale && strings.HasPrefix(n.Kind, "xid-")
	if news || !f.Reset { // the first that asks for a reset stays
		f.Kind, f.What, f.Blame, f.Boot = n.Kind, n.What, n.Blame, boot
	}
	f.Reset, f.Lease = f.Reset || reset, cmp.Or(lease, f.Lease)
	return news
}

// due lists the devices that can be checked now: quiet for long enough, and well by
// what their driver says. Those of which a container is left are among them.
func (o *offSale) due(now time.Time, boot string, devices []gpu.Device) (ids []string) {
	for id, f := range o.rows {
		if now.Sub(f.tried) < checkAgain && !f.tried.IsZero() {
			continue
		}
		if f.Lease != "" || now.Sub(f.Last) >= quietFor && f.unwell(boot, devices, id) == "" {
			ids = append(ids, id)
		}
	}
	return slices.Sorted(slices.Values(ids))
}

// unwell is why a device need not be checked yet; empty: it can be.
func (f *fault) unwell(boot string, devices []gpu.Device, id string) string {
	i := slices.IndexFunc(devices, func(d gpu.Device) bool { return d.ID == id })
	switch {
	case i < 0:
		return "it is not there"
	case devices[i].Failed || devices[i].Health != gpu.Healthy:
		return devices[i].Health
	case f.Reset && f.Boot == boot && devices[i].Recovery != gpu.Known(0):
		return "reset the card or reboot the machine: this driver does not say by itself when that is done"
	}
	return ""
}

// why tells people why a device is off sale and what comes next; empty: it is not.
func (o *offSale) why(now time.Time, device, boot string, devices []gpu.Device) string {
	f := o.rows[device]
	if f == nil {
		return ""
	}
	text := fmt.Sprintf("%s, %s (blamed on: %s), since %s; ", f.Kind, f.What, f.Blame, f.Since.UTC().Format(time.RFC3339))
	switch unwell := f.unwell(boot, devices, device); {
	case f.Lease != "":
		return text + "it is sold again once the container of lease " + f.Lease[:min(8, len(f.Lease))] + " is gone: restart the container engine, or reboot"
	case unwell != "":
		return text + unwell
	case f.wants != "":
		return text + "its check said: " + f.wants + "; it is checked again by itself"
	case now.Sub(f.Last) < quietFor:
		return text + fmt.Sprintf("it is checked when it was quiet for %s", quietFor)
	}
	return text + "it is being checked"
}

// strike notes that a job of client met an error which is a job's own. It tells
// whether the same came to so many different clients in a row that it is the device's.
func (o *offSale) strike(device string, s strike) bool {
	had := o.strikes[device]
	if len(had) > 0 && had[0].Kind != s.Kind {
		had = nil
	}
	if !slices.Contains(had, s) {
		had = append(slices.Clone(had), s)
	}
	o.strikes[device] = had[max(0, len(had)-suspectClients):]
	return len(had) >= suspectClients
}

// clean notes that a job ran on a device without such an error. It tells whether that
// changed anything.
func (o *offSale) clean(device string) bool {
	_, had := o.strikes[device]
	delete(o.strikes, device)
	return had
}

const (
	offSalePrefix = "offsale/"
	strikesPrefix = "strikes/"
)

// record is what is durable of one device; a value without bytes removes it.
func (o *offSale) record(device string) []ledger.Record {
	fault, strikes := ledger.Record{Key: offSalePrefix + device}, ledger.Record{Key: strikesPrefix + device}
	if f := o.rows[device]; f != nil {
		fault.Value = mustJSON(f)
	}
	if s := o.strikes[device]; len(s) > 0 {
		strikes.Value = mustJSON(s)
	}
	return []ledger.Record{fault, strikes}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode record: %v", err)) // plain fields: our bug
	}
	return b
}

// load reads what was durable.
func (o *offSale) load(from Records) error {
	err := from.Scan(offSalePrefix, func(key string, value []byte) error {
		f := new(fault)
		o.rows[strings.TrimPrefix(key, offSalePrefix)] = f
		return unmarshal(key, value, f)
	})
	if err != nil {
		return err
	}
	return from.Scan(strikesPrefix, func(key string, value []byte) error {
		var s []strike
		err := unmarshal(key, value, &s)
		o.strikes[strings.TrimPrefix(key, strikesPrefix)] = s
		return err
	})
}

func unmarshal(key string, value []byte, into any) error {
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	return nil
}
