// Package model checks the replication protocol itself, apart from any
// implementation: a seeded random search over one shard on four peers, with a
// control plane, a network, clients and faults. It has no code of its own beside
// its tests, and it imports nothing of Pando's: the protocol is written down here
// a second time, rule by rule, and what the product runs (package replica/core) has
// a simulator of its own.
//
// Each rule can be switched off (ruleTable), to see that the checker notices, or to
// say why it does not. An event at a replica is atomic: a crash falls between
// events, never into one. docs/model.md says what is modelled, what is not, how to
// run it and what it showed.
package model
