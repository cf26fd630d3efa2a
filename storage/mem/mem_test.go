package mem_test

import (
	"testing"

	"github.com/souk-market/souk/storage/mem"
	"github.com/souk-market/souk/storage/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) (storetest.Store, func() storetest.Store) { return mem.New(), nil })
}
