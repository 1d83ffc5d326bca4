//go:build !linux

package rpc

import (
	"net"
	"time"
)

func limitUnacked(*net.TCPConn, time.Duration) error { return nil }
