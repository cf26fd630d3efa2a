package files_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/souk-market/souk/storage/files"
)

// TestKnownIDs holds us to ids that other implementations give.
func TestKnownIDs(t *testing.T) {
	f := open(t, files.Config{})
	for _, tt := range []struct{ content, want string }{
		{"hello world\n", "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"},
		{"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
	} {
		root, size, err := f.AddReader(t.Context(), strings.NewReader(tt.content))
		if root != tt.want || size != uint64(len(tt.content)) || err != nil {
			t.Errorf("AddReader(%q) = %s, %d, %v; want %s", tt.content, root, size, err, tt.want)
		}
	}
	empty, _, err := f.AddTree(t.Context(), nil)
	if want := "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"; empty != want || err != nil {
		t.Errorf("empty folder = %s, %v; want %s", empty, err, want)
	}
}

// many returns small files, enough for their folder to be sharded.
func many() map[string]string {
	content := map[string]string{}
	for i := range 5000 {
		content[fmt.Sprintf("part-%05d-%s", i, strings.Repeat("x", i%40))] = fmt.Sprint(i)
	}
	return content
}

// TestKuboIDs holds us to what `ipfs add -r -H --cid-version=1` of kubo 0.38.1
// printed for the same folders.
func TestKuboIDs(t *testing.T) {
	f := open(t, files.Config{})
	for _, tt := range []struct {
		want    string
		content map[string]string
	}{
		{"bafybeie3bgahkmlv3lcm6xzgqwp7jxj6fu7uhhousxinrcpikwqzeoozjq",
			map[string]string{"a": "1", "b/c": "2", "e/empty": "", ".hidden": "h"}},
		{"bafybeicdptfs2kbtkpcqmgbfdeg2s3uz224ydr6f55bxz4zurdpjnu4vwq", map[string]string{
			"big": string(random(1, 3<<20+17)), "exact": string(random(2, 256<<10)), "huge": string(random(3, 50<<20))}},
		{"bafybeibd2bpv4ymekvwlvu5qp3yoad2kjxhzbm7rh7knj64kjt3643gkpa", many()},
	} {
		if got := add(t, f, tree(t, tt.content)); got != tt.want {
			t.Errorf("a folder of %d files is %s; want %s", len(tt.content), got, tt.want)
		}
	}
}
