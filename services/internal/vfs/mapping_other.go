//go:build !linux

package vfs

func (o osFS) Map(name string) (Mapping, error) { return Copy(o, name) }

func offHeap(n int) (*region, error) { return onHeap(n) }
