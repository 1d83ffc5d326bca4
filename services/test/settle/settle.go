// Package settle waits until a peer has done what it does by itself.
package settle

import (
	"context"
	"fmt"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
)

// Green waits until the collection says that nothing is left to be done.
func Green(ctx context.Context, c qdrant.CollectionsClient, name string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := c.Get(ctx, &qdrant.GetCollectionInfoRequest{CollectionName: name})
		if err != nil {
			return err
		}
		if info := r.GetResult(); info.GetStatus() == qdrant.CollectionStatus_Green && info.GetOptimizerStatus().GetOk() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not green: %w", name, ctx.Err())
		}
	}
}
