package nvml

import "testing"

func TestScrubOf(t *testing.T) {
	for _, tt := range []struct{ params, want string }{
		{"ResmanDebugLevel: 4294967295\nRegistryDwords: \"\"\n", "on"},
		{"RegistryDwords: \"RMDisableScrubOnFree=1\"\n", "off"},
		{"RegistryDwords: \"RMOther=1;RMDisableScrubOnFree=0x1;\"\n", "off"},
		{"RegistryDwords: \"RMDisableScrubOnFree=0\"\n", "on"},
		{"RegistryDwords: \"RMDisableScrubOnFree=0x00;RMOther=1\"\n", "on"},
		{"", "on"},
	} {
		if got := scrubOf([]byte(tt.params)); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.params, got, tt.want)
		}
	}
}
