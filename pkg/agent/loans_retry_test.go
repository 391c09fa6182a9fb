package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// knownBorrowers says whether the LiveMigrations that it knows need their secrets still.
type knownBorrowers map[types.UID]error

var errStillNeeded = errors.New("it is needed")

// Value implements SecretSource.
func (knownBorrowers) Value(context.Context, string, v1alpha1.SecretKeyReference) (hypervisor.SecretValue, error) {
	return nil, ErrNoSecret
}

// Borrows implements SecretSource.
func (k knownBorrowers) Borrows(_ context.Context, _ types.NamespacedName, uid types.UID) (bool, error) {
	if err := k[uid]; !errors.Is(err, errStillNeeded) {
		return false, err
	}
	return true, nil
}

// TestWhatIsNotTakenBackIsTriedAgain soon, and all else at leisure.
func TestWhatIsNotTakenBackIsTriedAgain(t *testing.T) {
	const failed, done = "could not be taken back", "Took back the secrets"
	for name, c := range map[string]struct {
		prepare func(*fake.Host)
		known   knownBorrowers
		// fails is how often the log says that it failed in the first seconds, looks how often
		// is looked by when it has been tried again, and left how many have it then.
		fails, looks, left int
	}{
		"nobody needs it": {func(*fake.Host) {}, nil, 0, 1, 0},
		"it is needed":    {func(*fake.Host) {}, knownBorrowers{"1": errStillNeeded}, 0, 1, 1},
		"libvirt does not let it go": {func(h *fake.Host) {
			h.FailNext(fake.MethodReturnSecrets, errors.New("busy"))
		}, nil, 1, 2, 0},
		"the API server is away": {func(*fake.Host) {}, knownBorrowers{"1": errors.New("unavailable")}, 1, 2, 1},
		"libvirt is away": {func(h *fake.Host) {
			h.FailNext(fake.MethodSecretBorrowers, &hypervisor.Error{Kind: hypervisor.KindConnectionLost, Message: "gone"})
		}, nil, 0, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := fake.NewFleet()
				defer fleet.Close()
				host := fleet.Host("node-b")
				loan := hypervisor.SecretLoan{
					Name: hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}, Borrower: "default/m/1", Value: []byte("x"),
				}
				if err := host.LendSecret(t.Context(), loan); err != nil {
					t.Fatal(err)
				}
				c.prepare(host)
				var book logBook
				loans := NewLoans(&Node{Hypervisor: host, Secrets: c.known, Clock: clock.RealClock{}, Log: book.logger()})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = loans.Start(ctx)
				}()
				time.Sleep(loanRetry / 2)
				if n := book.count(failed); n != c.fails {
					t.Errorf("the log says %d times that it failed: %q", n, book.lines)
				}
				time.Sleep(loanRetry)
				if n := host.Count(fake.MethodSecretBorrowers, ""); n != c.looks {
					t.Errorf("it was looked %d times", n)
				}
				if n := book.count(done); n != 1-c.left {
					t.Errorf("the log says %d times that it was taken back: %q", n, book.lines)
				}
				if left, err := host.SecretBorrowers(t.Context()); err != nil || len(left) != c.left {
					t.Errorf("afterwards it is lent to %v, %v", left, err)
				}
				before := host.Count(fake.MethodSecretBorrowers, "")
				time.Sleep(loanInterval)
				if n := host.Count(fake.MethodSecretBorrowers, "") - before; n == 0 {
					t.Error("nobody looks again")
				}
				cancel()
				<-ended
			})
		})
	}
}
