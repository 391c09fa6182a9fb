package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// +kubebuilder:rbac:groups="",namespace=virtferry-system,resources=configmaps,verbs=get;create;patch

// LedgerName is the name of the ConfigMap, in the system's namespace, that holds the
// ledger.
const LedgerName = "virtferry-slots"

// ledgerKey is the ledger's place in it.
const ledgerKey = "promises"

// errLedgerChanged: somebody else has written since this process did.
var errLedgerChanged = errors.New("the ledger of slots has changed")

// errLedgerDamaged: the ledger cannot be read before a person has repaired it.
var errLedgerDamaged = errors.New("somebody has edited it")

// halts reports whether no migration can be admitted before a person has done something.
func halts(err error) bool { return errors.Is(err, errLedgerDamaged) || refused(err) }

// promise is a slot that a migration is about to get: its status will say so as soon as
// that can be written, on condition that the object is still of this version. If it is
// of another, the promise is void, since nobody can keep it any more.
type promise struct {
	UID       types.UID `json:"uid"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	// Copying is whether the slot is one for copying, too.
	Copying bool   `json:"copying,omitempty"`
	Guest   string `json:"guest"`
	Source  string `json:"source,omitempty"`
	Target  string `json:"target"`
}

func (p *promise) key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
}

// ledger holds the promises that are not kept yet. It is what two managers that both
// believe to lead cannot both write: whoever finds that another has written must look at
// everything anew before it promises more.
type ledger struct {
	client    client.Client
	reader    client.Reader
	namespace string
	// version is that of the object as this process last wrote or read it; empty where
	// it has to be read first. An object that was made anew has another UID.
	version string
	uid     types.UID
}

// read returns the promises that were written last, and makes the ledger if there is
// none.
func (l *ledger) read(ctx context.Context) ([]promise, error) {
	found := &corev1.ConfigMap{}
	key := types.NamespacedName{Namespace: l.namespace, Name: LedgerName}
	err := l.reader.Get(ctx, key, found)
	if apierrors.IsNotFound(err) {
		// An apply would take away what another manager has promised in between.
		made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		if err = l.client.Create(ctx, made); err == nil || apierrors.IsAlreadyExists(err) { //nolint:forbidigo // See above.
			err = l.reader.Get(ctx, key, found)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of slots: %w", err)
	}
	var promises []promise
	if text := found.Data[ledgerKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &promises); err != nil {
			return nil, fmt.Errorf("reading the ledger of slots, the ConfigMap %s: %w, so no migration can be admitted; "+
				"scale the manager to no replicas, delete the ConfigMap, and scale it back: %w", key, errLedgerDamaged, err)
		}
	}
	l.version, l.uid = found.ResourceVersion, found.UID
	return promises, nil
}

// write replaces the promises, if nobody else has written since.
func (l *ledger) write(ctx context.Context, promises []promise) error {
	text, err := json.Marshal(promises)
	if err != nil {
		return fmt.Errorf("preparing the ledger of slots: %w", err)
	}
	config := coreac.ConfigMap(LedgerName, l.namespace).WithUID(l.uid).WithResourceVersion(l.version).
		WithData(map[string]string{ledgerKey: string(text)})
	// Whatever comes of it, the next one must know.
	l.version = ""
	err = l.client.Apply(ctx, config, client.FieldOwner(v1alpha1.OwnerManager), client.ForceOwnership)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return errLedgerChanged
	case err != nil:
		return fmt.Errorf("writing the ledger of slots: %w", err)
	case config.ResourceVersion != nil:
		l.version = *config.ResourceVersion
	}
	return nil
}
