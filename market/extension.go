package market

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Version is the version of the agreement that this build speaks: of orders,
// bids, leases and the first frames of streams. 0 and 1 are the first, in which a
// price for device time alone prices the work; from 2 on a tariff does. A message
// of a later version is understood as far as its must_understand allows, but a
// lease or a bid of a later version is not: it may mean something else.
const Version = 2

// The extensions that have a place in the messages. [Extensions] are those that
// this build acts upon; the others come later. Who uses one lists its name in
// must_understand, so that a peer that cannot act upon it says so.
const (
	ExtensionImage         = "image"          // the job is an OCI image
	ExtensionImageIPFS     = "image-ipfs"     // the image is an OCI layout by content id
	ExtensionIsolation     = "isolation"      // the job wants another box than that of a module
	ExtensionNetwork       = "network"        // the job reaches hosts
	ExtensionAccess        = "access"         // the client reaches into the job
	ExtensionSecrets       = "secrets"        // values sealed to the provider
	ExtensionCheckpoint    = "checkpoint"     // the job's state is kept while it runs
	ExtensionReclaimNotice = "reclaim-notice" // the provider may take devices back, with notice
	ExtensionEvidence      = "evidence"       // the provider shows evidence of its devices
	ExtensionChallenge     = "challenge"      // the client has the devices prove themselves to it before it orders
	ExtensionService       = "service"        // work that stays up
	ExtensionGang          = "gang"           // leases of which all hold or none
	ExtensionMixed         = "mixed"          // devices of several classes in one lease
	ExtensionShm           = "shm"            // the job says how large its /dev/shm is
	ExtensionSlice         = "slice"          // slices of devices, by their profile
)

// Limits on names of extensions and units that a peer may list.
const (
	maxExtensions       = 16 // in one must_understand
	maxExtensionBytes   = 32 // of one name
	maxTermBytes        = 96 // of a name in a decline: an extension, or a unit with a class
	maxUnsupported      = 16 // names in a decline
	maxUnsupportedBytes = 512
)

// Extensions lists what this build understands, by name. It is what offers
// announce. An extension is added here last, once its provider acts upon it.
func Extensions() []string {
	return []string{ExtensionChallenge, ExtensionImage, ExtensionImageIPFS, ExtensionIsolation, ExtensionMixed, ExtensionNetwork, ExtensionReclaimNotice, ExtensionShm, ExtensionSlice}
}

// ComingExtensions lists what has a place in the messages and is not understood yet.
func ComingExtensions() []string {
	all := []string{ExtensionImage, ExtensionIsolation, ExtensionNetwork, ExtensionAccess, ExtensionSecrets, ExtensionCheckpoint,
		ExtensionReclaimNotice, ExtensionEvidence, ExtensionService, ExtensionGang}
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(Extensions(), name) })
}

// Understand refuses a message that lists extensions this build does not
// understand, and names them. It returns nil where it understands them all. A
// list that is too long, or has a name that no extension can have, is malformed.
func Understand(lists ...[]string) *Refusal {
	var unknown []string
	for _, names := range lists {
		if !areExtensions(names) {
			return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_MALFORMED, Detail: "must_understand"}
		}
		for _, n := range names {
			if !slices.Contains(Extensions(), n) {
				unknown = append(unknown, n)
			}
		}
	}
	return unsupported(unknown)
}

// Allow refuses a message that lists extensions which this build understands and the
// owner of this node does not want, and names them as Understand does. It returns nil
// where there are none.
func Allow(unwanted []string, lists ...[]string) *Refusal {
	var named []string
	for _, names := range lists {
		named = append(named, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(unwanted, n) })...)
	}
	return unsupported(named)
}

// UnderstandVersion refuses a bid or a lease of a later version than this build speaks.
func UnderstandVersion(version uint32) *Refusal {
	if version <= Version {
		return nil
	}
	return unsupported([]string{fmt.Sprintf("version-%d", version)})
}

// UnderstandLease refuses a lease of a later version, and one that uses, or whose
// request lists, extensions that this build does not understand.
func UnderstandLease(l *leasev1.Lease, request []string) *Refusal {
	return cmp.Or(UnderstandVersion(l.GetVersion()), Understand(request, l.GetMustUnderstand(), LeaseExtensions(l)))
}

// understoodOf is the names among those of an offer that this build understands.
func understoodOf(names []string) (known []string) {
	for _, n := range Extensions() {
		if slices.Contains(names, n) {
			known = append(known, n)
		}
	}
	return known
}

// unsupported is the refusal that lists names, each once; nil without any.
func unsupported(names []string) *Refusal {
	if len(names) == 0 {
		return nil
	}
	return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED, Unsupported: eachOnce(names)}
}

// eachOnce is names without repetitions, in the order in which they come.
func eachOnce(names []string) (once []string) {
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once
}

func areExtensions(names []string) bool {
	return len(names) <= maxExtensions && !slices.ContainsFunc(names, func(n string) bool { return !isExtension(n) })
}

// isExtension tells whether s can be the name of an extension: small letters,
// digits and dashes.
func isExtension(s string) bool {
	return s != "" && len(s) <= maxExtensionBytes && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// terms is the part of names that a decline can carry and a terminal can show.
// What a peer names is not for this build to judge: a later one may have longer
// names.
func terms(names []string) (shown []string) {
	room := maxUnsupportedBytes
	for _, n := range names {
		if n == "" || !isText(n, maxTermBytes) || strings.ContainsRune(n, ' ') {
			continue
		}
		if room -= len(n); room < 0 || len(shown) == maxUnsupported {
			break
		}
		shown = append(shown, n)
	}
	return shown
}

// OrderExtensions is what an order uses by its fields. Whoever sends it lists
// these in must_understand; a provider does not rely on that.
func OrderExtensions(o *marketv1.Order) (names []string) {
	if o.GetGang() != nil {
		names = append(names, ExtensionGang)
	}
	if o.GetResources().GetMixed() {
		names = append(names, ExtensionMixed)
	}
	if o.GetResources().GetSlice() != "" {
		names = append(names, ExtensionSlice)
	}
	return names
}

// LeaseExtensions is what a lease uses by its fields.
func LeaseExtensions(l *leasev1.Lease) (names []string) {
	for _, e := range []struct {
		used bool
		name string
	}{
		{l.GetNetwork() != nil, ExtensionNetwork},
		{l.GetAccess() != nil, ExtensionAccess},
		{l.GetReclaim() != nil, ExtensionReclaimNotice},
		{l.GetEvidence() > marketv1.Evidence_EVIDENCE_NONE, ExtensionEvidence},
		{l.GetGang() != nil, ExtensionGang},
		{l.GetResources().GetMixed() || len(l.GetGroups()) > 0, ExtensionMixed},
		{l.GetResources().GetSlice() != "", ExtensionSlice},
	} {
		if e.used {
			names = append(names, e.name)
		}
	}
	return names
}

// JobExtensions is what a job needs its provider to understand. The client lists
// it in the order and in the lease; the provider looks again once it sees the job.
func JobExtensions(j *jobv1.Job) (names []string) {
	r := j.GetResources()
	for _, e := range []struct {
		used bool
		name string
	}{
		{j.GetImage() != "", ExtensionImage},
		{strings.HasPrefix(j.GetImage(), "ipfs://"), ExtensionImageIPFS},
		{len(r.GetRunners()) > 0 && !slices.Contains(r.GetRunners(), marketv1.Runner_RUNNER_WASM), ExtensionIsolation},
		{j.GetNetwork() != nil, ExtensionNetwork},
		{j.GetAccess() != nil, ExtensionAccess},
		{len(j.GetSecrets()) > 0, ExtensionSecrets},
		{j.GetCheckpoint() != nil, ExtensionCheckpoint},
		{j.GetReclaim() != nil, ExtensionReclaimNotice},
		{r.GetMinEvidence() == marketv1.Evidence_EVIDENCE_CHALLENGED, ExtensionChallenge},
		{r.GetMinEvidence() > marketv1.Evidence_EVIDENCE_CHALLENGED, ExtensionEvidence},
		{j.GetService() != nil, ExtensionService},
		{j.GetGangSize() > 1, ExtensionGang},
		{r.GetMixed(), ExtensionMixed},
		{j.GetShmBytes() > 0, ExtensionShm},
		{r.GetSlice() != "", ExtensionSlice},
	} {
		if e.used {
			names = append(names, e.name)
		}
	}
	return names
}
