package libvirt

import (
	"context"
	"errors"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// The subjects of calls on no domain in particular. The list of domains is one of
// its own: it may hang for a single domain, while the host still answers.
const (
	hostSubject = ""
	listSubject = "all domains"
)

// outcome is what a call on a goroutine of its own returns.
type outcome[T any] struct {
	value T
	err   error
}

// call makes a short call on a control connection. It returns when the call
// does, when ctx ends or when the client's deadline for calls passes, whichever
// comes first; in the latter cases the call is abandoned and its result is
// dropped. So fn must not touch the variables of its caller, who may be gone.
func call[T any](ctx context.Context, c *Client, op, subject string, fn func(*lv.Connect) (T, error)) (T, error) {
	return callOn(ctx, c, op, subject, func(l *link) (T, error) { return fn(l.conn) })
}

// callOn is call for who wants to know the connection.
func callOn[T any](ctx context.Context, c *Client, op, subject string, fn func(*link) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CallTimeout, errDeadline)
	defer cancel()
	value, err := do(ctx, c.control, subject, fn)
	if err == nil {
		return value, nil
	}
	var none T
	if abandoned := (*abandonedError)(nil); errors.As(err, &abandoned) {
		c.abandoned.Add(1)
		c.log.Warn("Abandoned a libvirt call", "call", op, "domain", subject)
	}
	return none, convert(op, err)
}

// abandonedError is the error of a call that was given up.
type abandonedError struct{ cause error }

func (e *abandonedError) Error() string { return e.cause.Error() }
func (e *abandonedError) Unwrap() error { return e.cause }

// do makes a call on a connection of the pool, on a goroutine of its own. It
// returns the call's result, or an abandonedError when ctx ends or the pool is
// closed first.
func do[L connection, T any](ctx context.Context, p *pool[L], subject string, fn func(L) (T, error)) (T, error) {
	var none T
	f, err := p.acquire(ctx, subject)
	if err != nil {
		return none, err
	}
	results := make(chan outcome[T], 1)
	go func() {
		defer p.spawned.Done()
		value, err := fn(f.session.link)
		p.release(f)
		results <- outcome[T]{value, err}
	}()
	var cause error
	select {
	case result := <-results:
		return result.value, result.err
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-p.closing:
		cause = errClosing
	}
	if !p.abandon(f) {
		result := <-results
		return result.value, result.err
	}
	return none, &abandonedError{cause}
}

// onDomain makes a short call on one domain.
func onDomain[T any](ctx context.Context, c *Client, op, uuid string, fn func(*lv.Domain) (T, error)) (T, error) {
	return call(ctx, c, op, uuid, func(conn *lv.Connect) (T, error) {
		domain, err := lookup(conn, uuid)
		if err != nil {
			var none T
			return none, err
		}
		// It fails only for a handle that is none.
		defer func() { _ = domain.Free() }()
		return fn(domain)
	})
}

// toDomain is onDomain for a call that returns nothing but an error.
func toDomain(ctx context.Context, c *Client, op, uuid string, fn func(*lv.Domain) error) error {
	_, err := onDomain(ctx, c, op, uuid, func(domain *lv.Domain) (struct{}, error) {
		return struct{}{}, fn(domain)
	})
	return err
}

// lookup finds a domain by its UUID, as libvirt writes it.
func lookup(conn *lv.Connect, uuid string) (*lv.Domain, error) {
	if !hypervisor.IsUUID(uuid) {
		return nil, lv.Error{Code: lv.ERR_NO_DOMAIN, Domain: lv.FROM_DOMAIN, Message: "no domain has a UUID that is written like this"}
	}
	return conn.LookupDomainByUUIDString(uuid)
}
