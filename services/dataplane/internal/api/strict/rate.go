package strict

import (
	"strconv"
	"time"

	"github.com/pandodb/pando/services/internal/fault"
)

// Bucket counts operations against a limit per minute. It is full at first, so that a
// minute's worth may come at once, and fills up evenly. The zero value is ready.
type Bucket struct {
	debt time.Duration // in which what was taken is filled up again
	at   time.Duration
}

// Take takes n operations at a time, measured from any fixed moment. RATE_LIMITED with
// the seconds until they may come again; INVALID_ARGUMENT if they never may.
func (b *Bucket) Take(now time.Duration, perMinute uint32, n int, limit string) error {
	if uint64(n) > uint64(perMinute) {
		return fault.New(fault.InvalidArgument, "Limit exceeded %d > %d for %q. Help: Send fewer operations in one request, or raise %s of the collection.", n, perMinute, limit, limit)
	}
	b.debt = max(0, b.debt-max(0, now-b.at))
	b.at = now
	price := time.Duration(n) * time.Minute / time.Duration(perMinute)
	over := b.debt + price - time.Minute
	if over <= 0 {
		b.debt += price
		return nil
	}
	wait := int((over + time.Second - 1) / time.Second)
	return fault.New(fault.RateLimited, "Rate limiting exceeded: %s of %d per minute is used up. Help: Retry after %d s, or raise %s of the collection.",
		limit, perMinute, wait, limit).With(fault.MetaRetryAfter, strconv.Itoa(wait))
}
