package caches

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

const (
	// patience is how long a cache may be out of touch with the API server.
	patience = time.Minute
	// settled is how long a watch must have gone on for the cache to be in touch:
	// one that cannot be decoded ends as soon as it has begun.
	settled = 5 * time.Second
)

// Health knows which caches are up to date.
type Health struct {
	clock clock.PassiveClock
	log   logr.Logger

	mu       sync.Mutex
	contacts []*contact
}

// NewHealth returns the health of no caches.
func NewHealth(c clock.PassiveClock, log logr.Logger) *Health { return &Health{clock: c, log: log} }

// Check fails if a cache is not up to date, and says which and why. It is a
// healthz.Checker. Of what it says, whoever asks /readyz learns nothing, so that each change
// is in the log, too.
func (h *Health) Check(*http.Request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := make([]error, 0, len(h.contacts))
	for _, c := range h.contacts {
		errs = append(errs, c.check(h.clock.Now()))
	}
	return errors.Join(errs...)
}

// follow returns a ListerWatcher that keeps the health informed of a cache.
func (h *Health) follow(of string, lw toolscache.ListerWatcher) toolscache.ListerWatcher {
	c := &contact{of: of, clock: h.clock, log: h.log, lastGood: h.clock.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.contacts = append(h.contacts, c)
	inner := toolscache.ToListerWatcherWithContext(lw)
	return &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			list, err := inner.ListWithContext(ctx, opts)
			c.note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := inner.WatchWithContext(ctx, opts)
			if err != nil {
				c.note(err)
				return nil, err
			}
			return c.open(w), nil
		},
	}
}

// contact is the contact of one cache with the API server.
type contact struct {
	of    string
	clock clock.PassiveClock
	log   logr.Logger

	mu sync.Mutex
	// lastGood is when the cache was last known to be in touch, but for the watch
	// under way.
	lastGood time.Time
	watching *followed
	lastErr  error
	// stale is what was found with the last check.
	stale bool
}

func (c *contact) note(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastErr = err
}

// check fails if the cache has been out of touch for too long.
func (c *contact) check(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching.good(now) || now.Sub(c.lastGood) <= patience {
		if c.stale {
			c.log.Info("A cache is up to date again", "cache", c.of)
		}
		c.stale = false
		return nil
	}
	err := c.lastErr
	if err == nil {
		err = errors.New("the API server does not answer")
	}
	if !c.stale {
		c.log.Error(err, "A cache is not up to date", "cache", c.of, "for", now.Sub(c.lastGood).Round(time.Second).String())
	}
	c.stale = true
	return fmt.Errorf("the cache of %s has not been up to date for %s: %w", c.of, now.Sub(c.lastGood).Round(time.Second), err)
}

// followed is a watch that is under way.
type followed struct {
	watch.Interface
	contact *contact
	began   time.Time
	// failed is whether it has brought an error.
	failed bool
}

// good reports whether the watch shows that the cache is in touch.
func (f *followed) good(now time.Time) bool {
	return f != nil && !f.failed && now.Sub(f.began) >= settled
}

func (c *contact) open(w watch.Interface) watch.Interface {
	f := &followed{contact: c, began: c.clock.Now()}
	f.Interface = watch.Filter(w, func(event watch.Event) (watch.Event, bool) {
		if event.Type == watch.Error {
			c.mu.Lock()
			defer c.mu.Unlock()
			f.failed, c.lastErr = true, fmt.Errorf("watching: %v", event.Object)
			if status, ok := event.Object.(*metav1.Status); ok {
				c.lastErr = errors.New(status.Message)
			}
		}
		return event, true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching = f
	return f
}

// Stop implements watch.Interface. The reflector calls it whenever a watch is over.
func (f *followed) Stop() {
	f.Interface.Stop()
	// An event that nobody has taken would keep the filter waiting for ever.
	go func() {
		for range f.ResultChan() {
		}
	}()
	c := f.contact
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching != f {
		return
	}
	if now := c.clock.Now(); f.good(now) {
		c.lastGood = now
	}
	c.watching = nil
}
