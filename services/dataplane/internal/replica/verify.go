package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
)

// told is the answer to a question that takes all replicas: to Linearize, or to Verify.
type told struct {
	proof.Verified
	err error
}

// Verify has all Active replicas tell the digest of their states at one place in the log
// that is not there yet. Of a primary; it returns when all that are Active by then have
// told. ErrNotPrimary, ErrDetached, ErrMoving, ErrNoSpace, ErrFailed, ErrStopped, or ctx's
// error where one is Active and does not tell.
func (r *Replica) Verify(ctx context.Context) (proof.Verified, error) {
	return r.ask(ctx, r.audits, "not all Active replicas have told their digests")
}

// ask has the loop ask the other replicas, and waits; late says what is missing when ctx
// ends before they have answered.
func (r *Replica) ask(ctx context.Context, to chan chan<- told, late string) (proof.Verified, error) {
	out := make(chan told, 1)
	for {
		select {
		case to <- out:
			to = nil
		case a := <-out:
			return a.Verified, a.err
		case <-r.ended:
			return proof.Verified{}, ErrStopped
		case <-ctx.Done():
			return proof.Verified{}, fmt.Errorf("%s: %w", late, ctx.Err())
		}
	}
}

// ask puts a question to the protocol.
func (l *loop) ask(to chan<- told, question func(ref uint64) core.Event) {
	if l.failed != nil || l.unsound != nil {
		to <- told{err: fmt.Errorf("%w: %w", ErrFailed, errors.Join(l.failed, l.unsound))}
		return
	}
	l.nextRef++
	l.asked[l.nextRef] = to
	l.step(question(l.nextRef))
}

func (l *loop) report(vs []proof.Verified) {
	for _, v := range vs {
		l.asked[v.Ref] <- told{Verified: v}
		delete(l.asked, v.Ref)
	}
}
