//go:build unix && !linux

package vfs

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

func fallocate(*os.File, int64, int64) error { return nil }
