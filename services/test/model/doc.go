// Package model checks the replication protocol itself, apart from any
// implementation: a seeded random search over one shard on four peers, with a
// control plane, a network, clients and faults. It has no code of its own beside
// its tests, and it imports nothing of Pando's: the protocol is written down here
// a second time, as the text says it, and what the product runs (package
// replica/core) has a simulator of its own.
//
// Modelled: the log with epochs and runs, dedup, required replicas, promotion,
// snapshots, truncation, placement changes by compare-and-swap, sessions that
// outlive their process and Confirm, handover, growth, drop, forced removal,
// settings as log entries, evaluated operations, operations in parts, the floor,
// detached mode, linearizable reads by proof. An event at a replica is atomic: a
// crash falls between events, never into one.
//
// Not modelled: bytes, indexes and queries, bit rot, full or failing disks, more
// than one shard, clock leases (R4), T_read, max_skew, floor_lost, force and
// restore of a shard (F1, F2), the write consistency factor. docs/model.md says
// what was run and what it showed.
package model
