package gpu_test

import (
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu"
)

func TestClass(t *testing.T) {
	for _, tt := range []struct{ model, want string }{
		{"NVIDIA GeForce RTX 4090", "RTX_4090"},
		{"NVIDIA GeForce RTX 4070 Ti SUPER", "RTX_4070_TI_SUPER"},
		{"NVIDIA GeForce RTX 4090 Laptop GPU", "RTX_4090_LAPTOP"},
		{"NVIDIA H100 80GB HBM3", "H100"},
		{"NVIDIA H100 PCIe", "H100"},
		{"NVIDIA H200", "H200"},
		{"NVIDIA A100-SXM4-40GB", "A100"},
		{"NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100_MIG_1G_5GB"},
		{"NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", "H100_MIG_1G_10GB_ME"},
		{"NVIDIA H100 80GB HBM3 MIG 1g.10gb-me", "H100_MIG_1G_10GB_NO_ME"},
		{"NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb", "H100_MIG_1C_3G_40GB"},
		// A slice keeps its profile, however long its card's name: it is never taken for the card.
		{"NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX_PRO_6000_BLACKWELL_MAX_Q_WORKSTATION_EDITION"},
		{"NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition MIG 1g.24gb+me.all", "RTX_PRO_6000_BLACKWELL_MAX_Q_MIG_1G_24GB_ME_ALL"},
		{"NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition MIG 2g.48gb", "RTX_PRO_6000_BLACKWELL_MAX_Q_WORKSTA_MIG_2G_48GB"},
		{"MIG 1g.5gb", "MIG_1G_5GB"},
		{"NVIDIA RTX 6000 Ada Generation", "RTX_6000_ADA"},
		{"NVIDIA RTX A6000", "RTX_A6000"},
		{"NVIDIA L40S", "L40S"},
		{"Tesla T4", "T4"},
		{"Tesla V100-SXM2-16GB", "V100"},
		{"NVIDIA GH200 480GB", "GH200"},
		{"NVIDIA", "GPU"},
		{"", "GPU"},
		{"漢字", "GPU"},
		{strings.Repeat("X Y ", 100), "X_Y_X_Y_X_Y_X_Y_X_Y_X_Y_X_Y_X_Y_X_Y_X_Y_X_Y_X_Y"},
	} {
		if got := gpu.Class(tt.model); got != tt.want {
			t.Errorf("Class(%q) = %s, want %s", tt.model, got, tt.want)
		}
	}
}
