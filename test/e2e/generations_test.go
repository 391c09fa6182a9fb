//go:build e2e

package e2e

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// moves counts what TestGenerationsExchangeGuests has done.
var moves tally

// tally is of moves between hosts of different generations.
type tally struct {
	mu       sync.Mutex
	pairs    map[string]bool // From where to where.
	moves    int
	failures int
}

func (m *tally) count(pair string, failed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pairs == nil {
		m.pairs = map[string]bool{}
	}
	m.pairs[pair] = true
	m.moves++
	if failed {
		m.failures++
	}
}

// report prints what was counted, if anything was.
func (m *tally) report() {
	if m.moves > 0 {
		fmt.Printf("moves: %d\npairs: %d\nfailures: %d\n", m.moves, len(m.pairs), m.failures)
	}
}

// variant is a way for a guest to move.
type variant struct{ persistent, postCopy, encrypted bool }

func (v variant) String() string {
	pick := func(condition bool, yes, no string) string {
		if condition {
			return yes
		}
		return no
	}
	return pick(v.persistent, "persistent", "transient") + "-" + pick(v.postCopy, "postcopy", "precopy") + "-" + pick(v.encrypted, "tls", "plain")
}

// variants are all there are.
func variants() []variant {
	var all []variant
	for i := range 8 {
		all = append(all, variant{persistent: i&1 != 0, postCopy: i&2 != 0, encrypted: i&4 != 0})
	}
	return all
}

// roundTrip returns a way through n hosts that uses each ordered pair once and ends where it
// begins. It goes up from one to the next, and back by all others.
func roundTrip(n int) []int {
	var from func(i int) []int
	from = func(i int) []int {
		trip := []int{i}
		for next := i + 1; next < n; next++ {
			if next == i+1 {
				trip = append(trip, from(next)...)
			} else {
				trip = append(trip, next)
			}
			trip = append(trip, i)
		}
		return trip
	}
	return from(0)
}

// TestRoundTripUsesEachPair once.
func TestRoundTripUsesEachPair(t *testing.T) {
	for n := 2; n <= 5; n++ {
		trip, seen := roundTrip(n), map[[2]int]bool{}
		for i := 1; i < len(trip); i++ {
			seen[[2]int{trip[i-1], trip[i]}] = trip[i-1] != trip[i]
		}
		if pairs := n * (n - 1); len(seen) != pairs || len(trip) != pairs+1 || trip[0] != trip[pairs] {
			t.Errorf("through %d hosts it goes %v", n, trip)
		}
	}
}

// requireGenerations skips a test where all hosts are of this machine's generation.
func requireGenerations(t *testing.T) {
	t.Helper()
	if *generations == "" {
		t.Skip("all hosts are of one generation: `make test-generations` has several")
	}
}

// hostOf returns the host of a generation.
func hostOf(t *testing.T, g lab.Generation) *lab.Host {
	t.Helper()
	requireGenerations(t)
	for _, h := range env.lab.Hosts() {
		if h.Generation() == g {
			return h
		}
	}
	t.Skipf("no host runs %s", g)
	return nil
}

// TestGenerationsExchangeGuests, from each to each other, in every way.
func TestGenerationsExchangeGuests(t *testing.T) {
	requireGenerations(t)
	t.Parallel() // It begins when the others are done.
	for i, v := range variants() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			hosts := env.lab.Hosts()
			trip := roundTrip(len(hosts))[1:]
			// Each begins elsewhere: what starts on a newer host has more that an older one may
			// not know.
			begin := i % len(trip)
			v.travel(t, hosts, slices.Concat(trip[begin:], trip[:begin+1]), i)
		})
	}
}

// travel moves a guest from one host to the next. If it does not get there, another one goes
// on from there.
func (v variant) travel(t *testing.T, hosts []*lab.Host, trip []int, index int) {
	machines := []string{"pc-i440fx-7.2", "pc-q35-7.2"}
	config := lab.GuestConfig{Persistent: v.persistent, Machine: machines[bits.OnesCount(uint(index))%len(machines)], VNC: &lab.VNC{}}
	if v.postCopy {
		config.Load, config.KernelWords = busyLoad(), keepingWrites()
	}
	var g *lab.Guest
	for i, place := range trip[1:] {
		from, to := hosts[trip[i]], hosts[place]
		if g == nil {
			config.Name, config.NICs = fmt.Sprintf("-%d", i), nil
			if !v.postCopy && from.Generation() != lab.Trixie && from.Generation() != lab.Modular { // TestGenerationsDifferInQueues says why.
				config.NICs = []lab.NIC{{}}
			}
			g = env.startGuest(t, from, config)
		}
		pair := fmt.Sprintf("%s-to-%s", from.Generation(), to.Generation())
		arrived := t.Run(pair, func(t *testing.T) { v.move(t, g, from, to) })
		moves.count(pair, !arrived)
		if !arrived {
			g = nil
		}
	}
}

// move moves a guest in this way.
func (v variant) move(t *testing.T, g *lab.Guest, from, to *lab.Host) {
	options := &v1alpha1.MigrationOptions{}
	if v.postCopy {
		options = endless(true)
		options.IgnoreKnownFaults = []v1alpha1.KnownFault{v1alpha1.FaultEmulatedWritesLost} // See keepingWrites.
	}
	options.Transfer = &v1alpha1.TransferOptions{Encryption: v1alpha1.EncryptionDisabled}
	if v.encrypted {
		options.Transfer.Encryption = v1alpha1.EncryptionRequired
	}
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), SourceNode: from.Name(), TargetNode: to.Name(), Options: options})
	if v.postCopy {
		env.awaitCopying(t, lm)
		env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	}
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, to)
	env.requireAbsent(t, g, from)
	requireListening(t, g, to, 0)
	if plan := lm.Status.Source.Transfer; plan == nil || plan.Encrypted != v.encrypted {
		t.Errorf("it was sent as %+v", plan)
	}
	if by := lm.Status.Progress.Switchover; (by == v1alpha1.SwitchoverPostCopy) != v.postCopy {
		t.Errorf("the switchover is %s", by)
	}
	if v.persistent {
		requirePersistent(t, g, to)
		return
	}
	if info, err := to.Virsh(t.Context(), "dominfo", g.UUID()); err != nil || !strings.Contains(strings.Join(strings.Fields(info), " "), "Persistent: no") {
		t.Errorf("the guest is not transient on %s (%v): %s", to.Name(), err, info)
	}
}

// requireRefused fails unless a migration was refused for this before anything was touched,
// and the guest ticks on where it was.
func requireRefused(t *testing.T, g *lab.Guest, from, to *lab.Host, options *v1alpha1.MigrationOptions, code v1alpha1.BlockerCode, words ...string) {
	t.Helper()
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name(), Options: options})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseFailed)
	var blockers []v1alpha1.Blocker
	if s := lm.Status.Source; s != nil && s.Problem != nil {
		blockers = append(blockers, s.Problem.Blockers...)
	}
	if s := lm.Status.Target; s != nil && s.Problem != nil {
		blockers = append(blockers, s.Problem.Blockers...)
	}
	if len(blockers) != 1 || blockers[0].Code != code {
		t.Errorf("it is refused for %+v, want %s", blockers, code)
	}
	for _, b := range blockers {
		if i := slices.IndexFunc(words, func(word string) bool { return !strings.Contains(b.Message, word) }); i >= 0 {
			t.Errorf("the message %q does not say %q", b.Message, words[i])
		}
		t.Log(b.Message)
	}
	if lm.Status.Source.StartRequestedTime != nil {
		t.Error("it was started")
	}
	env.requireOn(t, g, from)
	env.requireAbsent(t, g, to)
}
