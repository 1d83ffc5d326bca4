package lan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Net is a running network. Host 0 is the program itself.
type Net struct {
	hosts  []*host
	links  []atomic.Pointer[Link] // from * len(hosts) + to
	places sync.Map               // hardware address -> host, as frames told
	ports  sync.WaitGroup
}

type host struct {
	ns  *os.File // nil: that of the program
	tap *os.File
}

// device is the name of every host's interface, one to a namespace.
const device = "lan"

// New makes a network of this program and n more hosts. It has to run inside Alone.
func New(n int) (*Net, error) {
	w := &Net{links: make([]atomic.Pointer[Link], (n+1)*(n+1))}
	for i := range w.links {
		w.links[i].Store(&Link{})
	}
	for i := range n + 1 {
		h := &host{}
		w.hosts = append(w.hosts, h)
		if err := apart(func() error { return h.make(i) }); err != nil {
			return nil, errors.Join(fmt.Errorf("host %d: %w", i, err), w.Close())
		}
	}
	for i := range w.hosts {
		w.ports.Go(func() { w.serve(i) })
	}
	return w, nil
}

// Begin starts a command on a host.
func (w *Net) Begin(i int, cmd *exec.Cmd) error {
	return apart(func() error {
		if ns := w.hosts[i].ns; ns != nil {
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("setns: %w", err)
			}
		}
		return cmd.Start()
	})
}

// Set changes the link from one host to another; the way back is a link of its own.
func (w *Net) Set(from, to int, l Link) { w.links[from*len(w.hosts)+to].Store(&l) }

// Heal sets all links right.
func (w *Net) Heal() {
	for i := range w.links {
		w.links[i].Store(&Link{})
	}
}

// Close ends the switch and gives the namespaces back. What still runs in one keeps it, unconnected.
func (w *Net) Close() error {
	var err error
	for _, h := range w.hosts {
		if h.tap != nil {
			err = errors.Join(err, h.tap.Close())
		}
		if h.ns != nil {
			err = errors.Join(err, h.ns.Close())
		}
	}
	w.ports.Wait()
	return err
}

// apart runs f on a thread that ends with it, since f moves the thread into another namespace.
func apart(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with the goroutine
		done <- f()
	}()
	return <-done
}

// make makes the host's namespace, but for host 0, and its interface in there.
func (h *host) make(i int) (err error) {
	if i > 0 {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if h.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
	}
	if err := configure("lo", netip.Addr{}); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(device)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("TAP device: %w", err), unix.Close(fd))
	}
	h.tap = os.NewFile(uintptr(fd), device)
	return configure(device, Addr(i))
}

// configure gives an interface of the present namespace an address, if any, and switches it on.
func configure(name string, addr netip.Addr) error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(sock) }() // it was only asked
	set := func(what uint, fill func(*unix.Ifreq) error) error {
		req, err := unix.NewIfreq(name)
		if err == nil {
			err = fill(req)
		}
		if err == nil {
			err = unix.IoctlIfreq(sock, what, req)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		return nil
	}
	if addr.IsValid() {
		if err := set(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr.AsSlice()) }); err != nil {
			return err
		}
		if err := set(unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }); err != nil {
			return err
		}
	}
	return set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
}

// serve carries what a host sends, until its device is closed.
func (w *Net) serve(from int) {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.hosts[from].tap.Read(buf)
		if err != nil {
			return
		}
		w.carry(from, buf[:n])
	}
}

// What the switch looks at in a frame: addresses, and that it is ARP or IPv4.
const (
	header = 14
	ipv4   = 0x0800
	arp    = 0x0806
)

func (w *Net) carry(from int, frame []byte) {
	if len(frame) < header {
		return
	}
	if kind := binary.BigEndian.Uint16(frame[12:]); kind != ipv4 && kind != arp {
		return
	}
	w.places.Store([6]byte(frame[6:12]), from)
	if to, known := w.places.Load([6]byte(frame[:6])); known {
		w.pass(from, to.(int), frame)
		return
	}
	for to := range w.hosts {
		w.pass(from, to, frame)
	}
}

func (w *Net) pass(from, to int, frame []byte) {
	l := w.links[from*len(w.hosts)+to].Load()
	if from == to || l.Cut || l.Loss > 0 && rand.Float64() < l.Loss {
		return
	}
	wait := l.Delay
	if l.Jitter > 0 {
		wait += rand.N(l.Jitter)
	}
	if wait <= 0 {
		_, _ = w.hosts[to].tap.Write(frame) // a frame that finds no room is lost, as on a wire
		return
	}
	late := append([]byte(nil), frame...)
	time.AfterFunc(wait, func() { _, _ = w.hosts[to].tap.Write(late) })
}
