package store

import (
	"context"
	"encoding/json"
	"fmt"
)

// version of the record form. It is raised when an older release could misread a record, not when a field is added.
const version = 1

// envelope is the stored form of every record: {"v":1,"record":{…}}.
type envelope[T Record] struct {
	V      int `json:"v"`
	Record T   `json:"record"`
}

// Versioned is a decoded record with its place in the store's history.
type Versioned[T Record] struct {
	Record   T
	Created  int64
	Modified int64
	Lease    LeaseID
}

// Unchanged is the condition that nobody has written the record since it was read.
func (v Versioned[T]) Unchanged() Cond { return Unchanged(v.Record.Key(), v.Modified) }

// Alive is the condition that the record still exists, perhaps rewritten.
func (v Versioned[T]) Alive() Cond { return Alive(v.Record.Key(), v.Created) }

// Encode gives the stored form of a record.
func Encode[T Record](rec T) ([]byte, error) {
	data, err := json.Marshal(envelope[T]{V: version, Record: rec})
	if err != nil {
		return nil, fmt.Errorf("store: encode %s: %w", rec.Key(), err)
	}
	return data, nil
}

// Decode reads the stored form. ErrVersion if a newer release wrote it. A record that does not belong under
// its key is refused.
func Decode[T Record](kv KV) (Versioned[T], error) {
	var e envelope[T]
	err := json.Unmarshal(kv.Value, &e)
	switch {
	case e.V > version:
		return Versioned[T]{}, fmt.Errorf("store: %s has version %d, known is %d: %w", kv.Key, e.V, version, ErrVersion)
	case err != nil:
		return Versioned[T]{}, fmt.Errorf("store: decode %s: %w", kv.Key, err)
	case e.V < 1:
		return Versioned[T]{}, fmt.Errorf("store: decode %s: no version", kv.Key)
	}
	if e.Record.Key() != kv.Key {
		return Versioned[T]{}, fmt.Errorf("store: the record under %s belongs under %s", kv.Key, e.Record.Key())
	}
	return Versioned[T]{Record: e.Record, Created: kv.Created, Modified: kv.Modified, Lease: kv.Lease}, nil
}

// Put writes a record under its key.
func Put[T Record](rec T) Op { return PutLeased(rec, 0) }

// PutLeased writes a record that disappears with its lease.
func PutLeased[T Record](rec T, lease LeaseID) Op {
	data, err := Encode(rec)
	return Op{Key: rec.Key(), Value: data, Lease: lease, failed: err}
}

// Load reads and decodes one record.
func Load[T Record](ctx context.Context, s Store, key Key) (Versioned[T], error) {
	kv, err := s.Get(ctx, key)
	if err != nil {
		return Versioned[T]{}, err
	}
	return Decode[T](kv)
}

// pageSize of LoadAll: some hundred kilobytes of shard records.
const pageSize = 1000

// LoadAll reads all records under a prefix as of one revision and answers it.
func LoadAll[T Record](ctx context.Context, s Store, prefix Key) ([]Versioned[T], int64, error) {
	var out []Versioned[T]
	revision, err := Scan(ctx, s, prefix, func(kvs []KV) error {
		for _, kv := range kvs {
			rec, err := Decode[T](kv)
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		return nil
	})
	return out, revision, err
}

// Scan calls fn for page after page of a prefix, all as of the one revision that it answers.
// ErrCompacted if history overtakes it: the caller starts over.
func Scan(ctx context.Context, s Store, prefix Key, fn func([]KV) error) (int64, error) {
	r := Range{Prefix: prefix, Limit: pageSize}
	for {
		page, err := s.List(ctx, r)
		if err != nil {
			return 0, err
		}
		if err := fn(page.KVs); err != nil {
			return 0, err
		}
		if !page.More || len(page.KVs) == 0 {
			return page.Revision, nil
		}
		r.Revision, r.After = page.Revision, page.KVs[len(page.KVs)-1].Key
	}
}
