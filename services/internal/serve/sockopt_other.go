//go:build !linux

package serve

import "syscall"

// limitUnacked has no portable form; keep-alive alone notices a lost peer here.
func limitUnacked(syscall.RawConn) error { return nil }
