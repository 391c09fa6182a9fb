package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// unheardSecrets fails some times, and then says that nobody borrows anything.
type unheardSecrets struct {
	SecretSource

	failures int
}

// Borrows implements SecretSource.
func (s *unheardSecrets) Borrows(context.Context, types.NamespacedName, types.UID) (bool, error) {
	s.failures--
	if s.failures >= 0 {
		return false, errors.New("the API server does not answer")
	}
	return false, nil
}

// TestLoansThatCannotBeTakenBack: the log says so once for each failure, and the Hypervisor
// for as long as it lasts.
func TestLoansThatCannotBeTakenBack(t *testing.T) {
	noDriver := fake.Error(hypervisor.KindOther, "Failed to connect socket to virtsecretd-sock")
	noDriver.Err = hypervisor.ErrNoSecretDriver
	full := fake.Error(hypervisor.KindOther, "no space is left")
	for _, c := range []struct {
		name   string
		method fake.Method
		errs   []error
		logged int32
		shown  string
	}{
		{"the secret driver does not answer", fake.MethodSecretBorrowers, slices.Repeat([]error{noDriver}, 20), 1, "virtsecretd.socket"},
		{"libvirt does not undefine one", fake.MethodReturnSecrets, slices.Repeat([]error{full}, 20), 1, "virsh secret-undefine"},
		{"something else fails after a while", fake.MethodReturnSecrets, append(slices.Repeat([]error{full}, 10), slices.Repeat([]error{noDriver}, 10)...), 2, "no space is left"},
		{"the API server fails", "", nil, 1, ""},
		{"of a lost connection others tell", fake.MethodSecretBorrowers, slices.Repeat([]error{fake.Error(hypervisor.KindConnectionLost, "gone")}, 20), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := fake.NewFleet()
				defer fleet.Close()
				host := fleet.Host("node-a")
				loan := hypervisor.SecretLoan{Name: hypervisor.SecretName{UUID: guestUUID}, Borrower: "default/one/1", Value: []byte("x")}
				if err := host.LendSecret(t.Context(), loan); err != nil {
					t.Fatal(err)
				}
				secrets := &unheardSecrets{}
				if c.method == "" {
					secrets.failures = 20
				}
				host.FailNext(c.method, c.errs...)
				var logged atomic.Int32
				node := &Node{Name: "node-a", Hypervisor: host, Secrets: secrets, Clock: clock.RealClock{}, Log: funcr.New(func(_, line string) {
					if strings.Contains(line, "could not be taken back") {
						logged.Add(1)
					}
				}, funcr.Options{})}
				api := &memoryHypervisor{changes: make(chan struct{}, 1)}
				ctx, cancel := context.WithCancel(t.Context())
				var ended sync.WaitGroup
				defer ended.Wait()
				defer cancel()
				ended.Go(func() { _ = NewLoans(node).Start(ctx) })
				ended.Go(func() { _ = NewPublisher(node, api).Start(ctx) })
				time.Sleep(time.Minute)
				if message := api.requireShown(t).Message; !strings.Contains(message, c.shown) || c.shown == "" && message != "" {
					t.Errorf("the Hypervisor says %q", message)
				}
				time.Sleep(5 * time.Minute)
				if message := api.requireShown(t).Message; message != "" {
					t.Errorf("in the end, the Hypervisor says %q", message)
				}
				if n := logged.Load(); n != c.logged {
					t.Errorf("it is logged %d times", n)
				}
				if got := host.Secrets(); len(got) > 0 {
					t.Errorf("in the end, %v is there", got)
				}
			})
		})
	}
}
