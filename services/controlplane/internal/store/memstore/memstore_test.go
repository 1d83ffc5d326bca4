package memstore_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/controlplane/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		s := memstore.New()
		return storetest.Harness{Store: s, Compact: func(_ context.Context, revision int64) error {
			s.Compact(revision)
			return nil
		}}
	})
}
