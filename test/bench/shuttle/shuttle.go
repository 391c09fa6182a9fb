//go:build linux

// Package shuttle is what benches have in common: how they begin and end, and, of those that move a
// real guest back and forth, the lab, the guest, and how its LiveMigrations are followed.
package shuttle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// Namespace is where the LiveMigrations of benches are.
const Namespace = "default"

// Main runs a bench until it ends or somebody stops it, and ends the process if it fails.
func Main(name string, run func(ctx context.Context) error) {
	log.SetLogger(logr.Discard()) // Of the client's.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Progressf tells what is going on, beside the report.
func Progressf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Sleep waits for some time, or for the end of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Bench is a lab of two hosts and a control plane, with a guest that is moved back and forth.
type Bench struct {
	Lab   *lab.Lab
	API   client.WithWatch
	Guest *lab.Guest
	// Moves is how often the guest was moved.
	Moves int
}

// Start starts a lab with Virtferry, without a guest. Whoever gets a bench has to stop it.
func Start(ctx context.Context) (*Bench, error) {
	l, err := lab.Start(ctx, lab.Options{Hosts: 2, ControlPlane: true, Log: Progressf})
	if err != nil {
		return nil, err
	}
	l.EndWith(ctx.Done(), lab.EndGrace)
	b := &Bench{Lab: l}
	if _, err = l.StartVirtferry(ctx); err == nil {
		b.API, err = l.ControlPlane().NewClient()
	}
	if err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	return b, nil
}

// Stop ends the lab.
func (b *Bench) Stop() error { return b.Lab.Stop() }

// StartGuest starts the guest on the first host, and waits until it runs.
func (b *Bench) StartGuest(ctx context.Context, config lab.GuestConfig) error {
	from := b.Lab.Hosts()[0]
	guest, err := from.StartGuest(ctx, config)
	if err != nil {
		return err
	}
	b.Guest = guest
	_, err = guest.Ticks().Wait(ctx, from.Name(), 2)
	return err
}

// Sides are the host where the guest is, by the number of its moves, and the other.
func (b *Bench) Sides() (from, to *lab.Host) {
	hosts := b.Lab.Hosts()
	return hosts[b.Moves%2], hosts[(b.Moves+1)%2]
}

// Create makes a LiveMigration of the guest to a host, whose name begins with prefix.
func (b *Bench) Create(ctx context.Context, prefix string, to *lab.Host, o v1alpha1.MigrationOptions, annotations map[string]string) (*v1alpha1.LiveMigration, error) {
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Namespace: Namespace, Annotations: annotations},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: b.Guest.UUID(), TargetNode: to.Name(), Options: &o},
	}
	if err := b.API.Create(ctx, lm); err != nil {
		return nil, fmt.Errorf("creating the LiveMigration: %w", err)
	}
	return lm, nil
}

// Watch watches the LiveMigration of a name.
func (b *Bench) Watch(ctx context.Context, name string) (watch.Interface, error) {
	w, err := b.API.Watch(ctx, &v1alpha1.LiveMigrationList{}, client.InNamespace(Namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		return nil, fmt.Errorf("watching the LiveMigration: %w", err)
	}
	return w, nil
}

// Annotate has a request made of a LiveMigration, as a user does.
func (b *Bench) Annotate(ctx context.Context, lm *v1alpha1.LiveMigration, annotation, token string) error {
	changed := lm.DeepCopy()
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, annotation, token)
	if err := b.API.Patch(ctx, changed, client.MergeFrom(lm)); err != nil {
		return fmt.Errorf("annotating the LiveMigration with %s: %w", annotation, err)
	}
	return nil
}

// Follow hands over each state of a LiveMigration that a watch shows, until that says that it is
// done. It fails with what is returned, or if the watch ends before.
func Follow(ctx context.Context, w watch.Interface, each func(lm *v1alpha1.LiveMigration) (done bool, err error)) (*v1alpha1.LiveMigration, error) {
	for event := range w.ResultChan() {
		lm, ok := event.Object.(*v1alpha1.LiveMigration)
		if !ok {
			continue
		}
		if done, err := each(lm); done || err != nil {
			return lm, err
		}
	}
	return nil, errors.Join(errors.New("the watch ended before the LiveMigration had come so far"), ctx.Err())
}

// Succeeded reports whether a migration has; one that has ended otherwise is an error.
func Succeeded(lm *v1alpha1.LiveMigration) (bool, error) {
	if !migration.Finished(lm) {
		return false, nil
	}
	if !meta.IsStatusConditionTrue(lm.Status.Conditions, v1alpha1.ConditionSucceeded) {
		return false, fmt.Errorf("the migration failed: %+v", lm.Status.Conditions)
	}
	return true, nil
}
