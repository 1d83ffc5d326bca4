package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
)

// sow writes the first records of a cluster that this process founds, before anybody can read or write others. It may run again
// after a crash: a record that is there stays.
func (s *Service) sow(ctx context.Context) error {
	if !s.cfg.Found || s.sown || s.cfg.Founder == nil {
		return nil
	}
	ops, err := messages.Records(s.cfg.Founder, s.cfg.Seed, s.deps.Now())
	if err != nil {
		return fmt.Errorf("the placement that this peer kept cannot be taken over: %w", err)
	}
	for batch := range slices.Chunk(ops, store.MaxOps) {
		err := s.plant(ctx, batch)
		if errors.Is(err, store.ErrConflict) { // some were written before a crash
			for i := range batch {
				if err = s.plant(ctx, batch[i:i+1]); err != nil && !errors.Is(err, store.ErrConflict) {
					return err
				}
			}
		} else if err != nil {
			return err
		}
	}
	if s.sown = true; len(s.cfg.Seed) > 0 {
		s.deps.Log.Info("records taken over from the placement that this peer kept", "records", len(ops)-1)
	}
	return nil
}

func (s *Service) plant(ctx context.Context, ops []store.Op) error {
	txn := store.Txn{Then: ops}
	for _, op := range ops {
		txn.If = append(txn.If, store.Absent(op.Key))
	}
	_, err := s.records.Commit(ctx, txn)
	return err
}
