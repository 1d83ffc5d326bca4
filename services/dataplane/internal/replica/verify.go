package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
)

// audit is the answer to Verify.
type audit struct {
	proof.Verified
	err error
}

// Verify has all Active replicas tell the digest of their states at one place in the log
// that is not there yet. Of a primary; it returns when all that are Active by then have
// told. ErrNotPrimary, ErrDetached, ErrMoving, ErrNoSpace, ErrFailed, ErrStopped, or ctx's
// error where one is Active and does not tell.
func (r *Replica) Verify(ctx context.Context) (proof.Verified, error) {
	out := make(chan audit, 1)
	for to := r.audits; ; {
		select {
		case to <- out:
			to = nil
		case a := <-out:
			return a.Verified, a.err
		case <-r.ended:
			return proof.Verified{}, ErrStopped
		case <-ctx.Done():
			return proof.Verified{}, fmt.Errorf("not all Active replicas have told their digests: %w", ctx.Err())
		}
	}
}

// audit asks for what Verify waits for.
func (l *loop) audit(a chan<- audit) {
	if l.failed != nil || l.unsound != nil {
		a <- audit{err: fmt.Errorf("%w: %w", ErrFailed, errors.Join(l.failed, l.unsound))}
		return
	}
	l.nextRef++
	l.audits[l.nextRef] = a
	l.step(core.Verify{Ref: l.nextRef})
}

func (l *loop) report(vs []proof.Verified) {
	for _, v := range vs {
		l.audits[v.Ref] <- audit{Verified: v}
		delete(l.audits, v.Ref)
	}
}
