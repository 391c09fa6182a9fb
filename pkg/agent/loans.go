package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// loanInterval is the time between two looks for secrets that nobody needs any more.
const loanInterval = 5 * time.Minute

// Loans takes secrets back that the node's libvirt was lent for a migration: when it has
// ended, however that came, and at the start what an earlier process has left.
type Loans struct {
	node *Node
	// failing is why what was lent could not be taken back, by borrower; that of no borrower
	// is why nobody knows to whom it was.
	failing map[string]error
}

// NewLoans returns the loans of a node, which tells them of each migration that has ended.
func NewLoans(node *Node) *Loans {
	node.loanEnds = make(chan struct{}, 1)
	return &Loans{node: node}
}

// releaseTarget ends what the node has promised to a guest that was to come.
func (n *Node) releaseTarget(uid types.UID) {
	n.ports.release(uid)
	n.parts.release(uid)
	n.claims.set(uid, claim{})
	n.space.release(uid)
	select {
	case n.loanEnds <- struct{}{}:
	default:
	}
}

// Start takes back what is not needed until ctx ends.
func (l *Loans) Start(ctx context.Context) error {
	for {
		wait := loanInterval
		if !l.settle(ctx) {
			wait = loanRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.node.loanEnds:
		case <-l.node.Clock.After(wait):
		}
	}
}

// loanRetry is the time until it is tried again to take something back.
const loanRetry = 10 * time.Second

// settle takes back what is not needed. It reports whether it could tell, and do it. What
// fails is logged when it begins to, or fails otherwise.
func (l *Loans) settle(ctx context.Context) (ok bool) {
	borrowers, err := l.node.Hypervisor.SecretBorrowers(ctx)
	if ctx.Err() != nil || hypervisor.KindOf(err) == hypervisor.KindConnectionLost {
		return false // The publisher says that libvirt cannot be reached.
	}
	failing := map[string]error{}
	if err != nil {
		failing[""] = err
	}
	for _, b := range borrowers {
		if err := l.settleOne(ctx, b); err != nil {
			failing[b] = err
		}
	}
	l.tell(failing)
	return len(failing) == 0
}

// tell logs what is new, and has the Hypervisor say what is so.
func (l *Loans) tell(failing map[string]error) {
	var trouble *string
	for _, b := range slices.Sorted(maps.Keys(failing)) {
		err := failing[b]
		if before := l.failing[b]; before == nil || before.Error() != err.Error() {
			l.node.Log.Error(err, "Secrets that were lent to libvirt could not be taken back; trying again until they can", "borrower", b, "every", loanRetry)
		}
		if text := troubleOf(err); text != "" && trouble == nil {
			trouble = &text
		}
	}
	if len(l.failing) > 0 && len(failing) == 0 {
		l.node.Log.Info("Nothing is in the way of taking secrets back any more")
	}
	l.failing = failing
	l.node.loanTrouble.Store(trouble)
}

// troubleOf says what an error of libvirt's means for the node, and what to do; nothing for
// one of the API server's.
func troubleOf(err error) string {
	var e *hypervisor.Error
	switch {
	case !errors.As(err, &e), e.Kind == hypervisor.KindConnectionLost, e.Kind == hypervisor.KindCanceled:
		return ""
	case secretsSilent(err):
		return "libvirt's secret driver does not answer, so guests that need secrets are refused, and what was lent to it is not taken back: " +
			messageOf(err) + ". Ask an administrator to " + startSecretDriver
	default:
		return "libvirt does not give back secrets that it was lent: " + messageOf(err) +
			". Ask an administrator to remove those with `virsh secret-undefine` that `virsh secret-dumpxml` describes as lent by Virtferry"
	}
}

func (l *Loans) settleOne(ctx context.Context, borrower string) error {
	if name, uid, ok := parseBorrower(borrower); ok {
		needed, err := l.node.Secrets.Borrows(ctx, name, uid)
		if needed || err != nil {
			return err //nolint:wrapcheck // The caller says what it is about.
		}
	}
	if err := l.node.Hypervisor.ReturnSecrets(ctx, borrower); err != nil {
		return err //nolint:wrapcheck // The same.
	}
	l.node.Log.Info("Took back the secrets that libvirt was lent", "borrower", borrower)
	return nil
}
