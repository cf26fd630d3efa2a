package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Page is the address of the page of the daemon in home, which serves its API at
// api. The token in it stands behind #, where a browser sends it nowhere.
func Page(home, api string) (string, error) {
	token, err := os.ReadFile(filepath.Join(home, "api.token"))
	if err != nil {
		return "", fmt.Errorf("read the page's token: %w", err)
	}
	if !strings.Contains(api, "://") {
		api = "http://" + api
	}
	return strings.TrimSuffix(api, "/") + "/#token=" + strings.TrimSpace(string(token)), nil
}
