package store

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pandodb/pando/services/internal/topology"
)

// Key is a full path below Root. docs/format/etcd-keys.md lists them all.
type Key string

// Prefixes of the record kinds. Root is what one watch of everything uses.
const (
	Root        Key = "/pando/v1/"
	LeaderKey   Key = Root + "leader"
	Peers       Key = Root + "peers/"
	Sessions    Key = Root + "sessions/"
	Collections Key = Root + "collections/"
	Aliases     Key = Root + "aliases/"
	Tombstones  Key = Root + "tombstones/"
	Shards      Key = Root + "shards/"
	Transfers   Key = Root + "transfers/"
	Metadatas   Key = Root + "metadata/"
)

// PeerKey of a peer's registration.
func PeerKey(peer topology.PeerID) Key { return Peers + hex16(uint64(peer)) }

// SessionKey of a peer's running process.
func SessionKey(peer topology.PeerID) Key { return Sessions + hex16(uint64(peer)) }

// CollectionKey by name: names are unique, ids are not looked up.
func CollectionKey(name string) Key { return Collections + Key(name) }

// AliasKey by alias name.
func AliasKey(alias string) Key { return Aliases + Key(alias) }

// TombstoneKey by the name that the collection had: it is not free while the tombstone is there.
func TombstoneKey(name string) Key { return Tombstones + Key(name) }

// ShardKey of one shard of the collection with this id.
func ShardKey(collection topology.CollectionID, shard topology.ShardID) Key {
	return ShardsOf(collection) + hex16(uint64(shard))
}

// ShardsOf is the prefix of a collection's shards.
func ShardsOf(collection topology.CollectionID) Key { return Shards + hex16(uint64(collection)) + "/" }

// TransferKey of the one transfer of a shard to a peer.
func TransferKey(collection topology.CollectionID, shard topology.ShardID, to topology.PeerID) Key {
	return TransfersOf(collection, shard) + hex16(uint64(to))
}

// TransfersOf is the prefix of a shard's transfers.
func TransfersOf(collection topology.CollectionID, shard topology.ShardID) Key {
	return Transfers + hex16(uint64(collection)) + "/" + hex16(uint64(shard)) + "/"
}

// MetadataKey of a value of the cluster's metadata.
func MetadataKey(name string) Key { return Metadatas + Key(name) }

// Under tells whether the key lies below the prefix.
func (k Key) Under(prefix Key) bool { return strings.HasPrefix(string(k), string(prefix)) }

// Number parses the hexadecimal last element of a key, such as the peer id of a peer or session key.
func (k Key) Number() (uint64, error) {
	s := string(k[strings.LastIndexByte(string(k), '/')+1:])
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("store: key %q does not end in 16 hexadecimal digits", string(k))
	}
	return n, nil
}

// hex16 keeps numeric keys in numeric order.
func hex16(n uint64) Key { return Key(fmt.Sprintf("%016x", n)) }
