package market

import (
	"regexp"
	"slices"
	"strings"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// WholeDevice is the slice that a query names for devices that are none.
const WholeDevice = "whole"

// sliceMark stands between a card and a profile in the class of a slice.
const sliceMark = "_MIG_"

// profileForm is a profile as drivers name it: 1g.10gb, 1c.3g.40gb, 1g.10gb+me.
var profileForm = regexp.MustCompile(`^([1-9]c\.)?[1-9]g\.[1-9][0-9]{0,3}gb([+-][a-z]{1,8}(\.[a-z]{1,8})?)?$`)

// IsSlice tells whether s can be the profile of a slice of a device, in small letters.
func IsSlice(s string) bool { return profileForm.MatchString(s) }

// SliceOf is the profile of the slices of a class, "1g.10gb" of A100_MIG_1G_10GB; it
// is empty where its devices are whole. The class alone decides: a bid and a lease
// name nothing else.
func SliceOf(class string) string {
	_, profile, ok := strings.Cut("_"+class, sliceMark)
	if !ok {
		return ""
	}
	profile = strings.ToLower(profile)
	size := strings.Index(profile, "gb_")
	if size < 0 {
		return strings.ReplaceAll(profile, "_", ".")
	}
	size += len("gb")
	sign, engines := "+", profile[size+1:]
	if none, ok := strings.CutPrefix(engines, "no_"); ok {
		sign, engines = "-", none
	}
	return strings.ReplaceAll(profile[:size], "_", ".") + sign + strings.ReplaceAll(engines, "_", ".")
}

// ClassOfSlice is the class of the slices of a profile that cards of a class are cut
// into: what [gpu.Class] makes of their name.
func ClassOfSlice(card, profile string) string {
	suffix := strings.ToUpper(strings.NewReplacer("-", "_no_", "+", "_", ".", "_").Replace(profile))
	card = card[:min(len(card), max(0, maxClass-len(sliceMark)-len(suffix)))]
	return strings.TrimLeft(strings.TrimRight(card, "_")+sliceMark+suffix, "_")
}

// sliceWord is the slice of a class as queries write it.
func sliceWord(class string) string {
	if s := SliceOf(class); s != "" {
		return s
	}
	return WholeDevice
}

// sliceClasses are the classes that a request accepts, as those of its slices; nil:
// any. Classes of slices that it names itself stay as they are.
func sliceClasses(r *marketv1.Resources) []string {
	if r.GetSlice() == "" {
		return r.GetModels()
	}
	classes := slices.Clone(r.GetModels())
	for i, class := range classes {
		if SliceOf(class) == "" {
			classes[i] = ClassOfSlice(class, r.GetSlice())
		}
	}
	return classes
}

// acceptsSlice tells whether a request for GPUs may be met by devices of class: a
// whole one never stands for a slice, nor the other way round, unless the request
// names the class.
func acceptsSlice(r *marketv1.Resources, class string) bool {
	if len(r.GetModels()) == 0 {
		return SliceOf(class) == r.GetSlice()
	}
	return slices.Contains(sliceClasses(r), class) && (r.GetSlice() == "" || SliceOf(class) == r.GetSlice())
}
