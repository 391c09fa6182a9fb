package agent

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// loanInterval is the time between two looks for secrets that nobody needs any more.
const loanInterval = 5 * time.Minute

// Loans takes secrets back that the node's libvirt was lent for a migration: when it has
// ended, however that came, and at the start what an earlier process has left.
type Loans struct{ node *Node }

// NewLoans returns the loans of a node, which tells them of each migration that has ended.
func NewLoans(node *Node) *Loans {
	node.loanEnds = make(chan struct{}, 1)
	return &Loans{node: node}
}

// releaseTarget ends what the node has promised to a guest that was to come.
func (n *Node) releaseTarget(uid types.UID) {
	n.ports.release(uid)
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

// settle takes back what is not needed. It reports whether it could tell, and do it.
func (l *Loans) settle(ctx context.Context) (ok bool) {
	borrowers, err := l.node.Hypervisor.SecretBorrowers(ctx)
	if err != nil {
		return false // The publisher says that libvirt cannot be reached.
	}
	ok = true
	for _, b := range borrowers {
		if err := l.settleOne(ctx, b); err != nil {
			l.node.Log.Error(err, "Secrets that were lent to libvirt could not be taken back; trying again", "borrower", b, "after", loanRetry)
			ok = false
		}
	}
	return ok
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
