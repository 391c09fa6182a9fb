package fake

import (
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// keepalive is how long libvirt waits for a word of another host's daemon: five times
// five seconds and some.
const keepalive = 30 * time.Second

// link is the way between two hosts, in either direction.
type link struct{ a, b *Host }

// Part breaks the way between two hosts until the function that it returns is called.
// What is copied between them stands still, and nobody is told. After half a minute the
// daemons give each other up: a migration fails, and its guest goes on at the source. In
// post-copy the memory goes on by itself when the hosts reach each other again. In between
// nothing can be begun.
func (f *Fleet) Part(a, b *Host) (mend func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	broken := link{a, b}
	f.parted[broken]++
	f.stall()
	giveUp := time.AfterFunc(f.real(keepalive), func() { f.giveUp(broken) })
	return sync.OnceFunc(func() {
		giveUp.Stop()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.parted[broken]--
		f.stall()
	})
}

// apart reports whether two hosts do not reach each other.
func (f *Fleet) apart(a, b *Host) bool { return f.parted[link{a, b}]+f.parted[link{b, a}] > 0 }

// stall has migrations stand still, or go on.
func (f *Fleet) stall() {
	for m := range f.migrations {
		if apart := f.apart(m.source, m.target); apart != m.stalled {
			if m.copying {
				m.count()
			}
			m.stalled = apart
			m.change()
		}
	}
}

// giveUp has the daemons of two hosts give each other up.
func (f *Fleet) giveUp(l link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.migrations {
		switch {
		case l != link{m.source, m.target} && l != link{m.target, m.source}:
		case m.inPostCopy():
			m.loseSupervision()
		default:
			m.interrupt(cause{ending: EndsShellLeft})
			if m.finished { // The destination's daemon takes away what has come.
				m.destroyHalf()
			}
		}
	}
}

// unreachable is what a migrate call returns where the other host does not answer.
func unreachable(method Method) error {
	return fault(method, hypervisor.KindPeerLost, "unable to connect to server: No route to host")
}
