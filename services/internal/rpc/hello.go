package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"
)

// Connections that carry etcd's traffic open with a hello, since etcd itself has no place for the identity that internal
// calls show: cluster, destination and secret, of which only a hash is sent.
const (
	// HelloPrefix is what tells such a connection from others.
	HelloPrefix = "PANDO-PEER/1 "
	// HelloLen is the length of a whole hello, line end included.
	HelloLen = len(HelloPrefix) + 2*sha256.Size + 1
)

// hello is what a process writes first on a connection to another one that will carry etcd's traffic.
func (c *Cluster) hello(to string) []byte {
	h := sha256.New()
	for _, s := range []string{"pando peer", c.secret, c.ID(), to} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s)))) // a hash takes everything
		_, _ = h.Write([]byte(s))
	}
	return fmt.Appendf(nil, "%s%s\n", HelloPrefix, hex.EncodeToString(h.Sum(nil)))
}

// Welcome tells whether a hello of HelloLen bytes comes from a process of this cluster and is meant for this one.
func (c *Cluster) Welcome(hello []byte) bool {
	return c.ID() != "" && subtle.ConstantTimeCompare(hello, c.hello(*c.self.Load())) == 1
}

// errNoCluster: who belongs to no cluster has nothing to say to its members.
var errNoCluster = errors.New("this process does not know its cluster yet")

// DialPeer connects to the process `to` for etcd's traffic. A lost machine is noticed within about 10 s, before which
// etcd's own election has made up for it.
func (c *Cluster) DialPeer(ctx context.Context, addr, to string) (net.Conn, error) {
	if c.ID() == "" {
		return nil, errNoCluster
	}
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = limitUnacked(tcp, 10*time.Second)
	}
	if err == nil {
		_, err = conn.Write(c.hello(to))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
