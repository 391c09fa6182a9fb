//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollInterval is how often the lab looks for what it cannot be told of.
const pollInterval = 20 * time.Millisecond

// A finalError is an error of a check that no waiting can cure.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// poll calls check until it returns nil, a finalError, or the time is up. The
// error is then the last that check returned.
func poll(ctx context.Context, timeout time.Duration, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if final, ok := errors.AsType[finalError](err); ok {
			return fmt.Errorf("waiting for %s: %w", what, final.error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last: %w)", what, ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
