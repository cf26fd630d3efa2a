package challenge

import "slices"

// measured is what one model took over one challenge, as somebody saw it.
type measured struct {
	class      string
	arithmetic Arithmetic
	size       uint32
	rounds     uint32
	band       Band
	source     string // which card, driver and script, and when
}

// bands are measured and never guessed: a model that nobody has put to the test is
// not in here, and is not judged by time. There is none yet.
func bands() []measured { return nil }

// BandOf is how long devices of a class take over a challenge of these numbers. The
// zero Band, which judges nothing, stands for a class that nobody measured so.
func BandOf(class string, a Arithmetic, size, rounds uint32) Band {
	return bandIn(bands(), class, a, size, rounds)
}

func bandIn(all []measured, class string, a Arithmetic, size, rounds uint32) Band {
	i := slices.IndexFunc(all, func(m measured) bool {
		return m.class == class && m.arithmetic == a && m.size == size && m.rounds == rounds
	})
	if i < 0 {
		return Band{}
	}
	return all[i].band
}

// ArithmeticOf is how devices of a class are to multiply: those of which the 8-bit
// integer rate is known to be low, in floats.
func ArithmeticOf(class string) Arithmetic {
	if class == "B300" || class == "GB300" { // 0.15 POPS against the B200's 4.5, by NVIDIA's data sheets
		return Half
	}
	return Int8
}
