package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	defaultCallTimeout       = 10 * time.Second
	defaultKeepAliveInterval = 5 * time.Second
	defaultKeepAliveCount    = 3
	// closeGrace is how long Run waits at its end for calls and connections to
	// come back before it leaves them behind as hung.
	closeGrace = 2 * time.Second
)

// Config says how to reach a libvirt daemon.
type Config struct {
	// URI is libvirt's connection URI. Empty is the socket of the node's daemon for QEMU
	// or else of its only daemon, found anew for each connection.
	URI string
	// RunDir is where the node's daemons have their sockets; empty is "/run/libvirt".
	RunDir string
	// Logger is where lost and regained connections and abandoned calls are
	// logged; nil logs nothing.
	Logger *slog.Logger
	// CallTimeout is how long a call may take before it is abandoned; zero is
	// ten seconds. It does not bound the migration itself.
	CallTimeout time.Duration
	// KeepAliveInterval and KeepAliveCount are how often the daemon is probed
	// and how many probes it may leave unanswered before its connections count
	// as lost; zero is five seconds, rounded up to whole ones, and three.
	KeepAliveInterval time.Duration
	KeepAliveCount    int

	// anyDriver is whether drivers other than QEMU's will do.
	anyDriver bool
}

// Client is a libvirt daemon as a hypervisor.Hypervisor. Its methods may be
// called from many goroutines and before Run, in which case they wait for it.
type Client struct {
	config  Config
	log     *slog.Logger
	hub     *hub
	control *pool[*link]
	aborts  aborts
	// chosen is the URI that was connected to last; nil before.
	chosen atomic.Pointer[string]
	// host is what was read of the host last; nil before.
	host atomic.Pointer[hypervisor.HostCapabilities]

	// loans is held while it is read and written to whom secrets are lent.
	loans sync.Mutex

	// images is held while a directory is looked at and changed.
	images sync.Mutex

	abandoned atomic.Uint64
	events    attempts

	running atomic.Bool
	// started is closed when Run begins.
	started chan struct{}
	// background counts the goroutines that Run waits for at its end.
	background sync.WaitGroup
}

var _ hypervisor.Hypervisor = (*Client)(nil)

// New returns a client for the daemon that the configuration names. It does
// not connect: Run does. It fails where libvirt's client library is missing.
func New(config Config) (*Client, error) {
	if config.RunDir == "" {
		config.RunDir = defaultRunDir
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.CallTimeout < 0 || config.KeepAliveInterval < 0 || config.KeepAliveCount < 0 {
		return nil, errors.New("checking the libvirt configuration: a duration or count is negative")
	}
	if config.CallTimeout == 0 {
		config.CallTimeout = defaultCallTimeout
	}
	if config.KeepAliveInterval == 0 {
		config.KeepAliveInterval = defaultKeepAliveInterval
	}
	if config.KeepAliveCount == 0 {
		config.KeepAliveCount = defaultKeepAliveCount
	}
	if err := processLoop.prepare(); err != nil {
		return nil, fmt.Errorf("preparing libvirt's event loop: %w", err)
	}
	c := &Client{config: config, log: config.Logger, hub: newHub(), started: make(chan struct{})}
	if config.URI != "" {
		c.log = c.log.With("uri", config.URI)
	}
	c.control = newPool(poolConfig[*link]{
		dial:     c.dial,
		patience: config.CallTimeout,
		log:      c.log.With("connection", "control"),
	})
	return c, nil
}

// Run keeps the connections until ctx ends, closes them and returns. Calls in
// flight at that moment return at once with an error whose outcome is unknown.
// When Run returns, no goroutine of the client is left but those of calls that
// hang; a migration under way is such a call, and goes on.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("running the libvirt client: it has already run")
	}
	processLoop.acquire()
	defer processLoop.release(ctx)
	close(c.started)

	c.background.Go(func() { c.control.run(ctx) })
	c.background.Go(func() { c.runEvents(ctx) })

	<-ctx.Done()
	// Calls in flight are abandoned.
	c.control.close()
	c.awaitBackground()
	return nil
}

// attempts counts how often a connection was made.
type attempts struct {
	made, failed atomic.Uint64
}

// Contact says how the client has got on so far. It makes no call.
func (c *Client) Contact() hypervisor.Contact {
	return hypervisor.Contact{
		Control: c.control.attempts.count(), Events: c.events.count(),
		Abandoned: c.abandoned.Load(), Hung: c.control.hanging(),
	}
}

func (a *attempts) count() hypervisor.Connects {
	return hypervisor.Connects{Again: max(a.made.Load(), 1) - 1, Failed: a.failed.Load()}
}

// awaitBackground waits for everything that comes back in time.
func (c *Client) awaitBackground() {
	done := make(chan struct{})
	// This goroutine outlives Run exactly where a hung call does.
	go func() {
		c.background.Wait()
		c.control.wait()
		close(done)
	}()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.log.Warn("Leaving hung libvirt calls behind")
	}
}

// link is one connection to the daemon.
type link struct {
	conn *lv.Connect
	// broken is closed once the connection is lost.
	broken chan struct{}
	once   sync.Once
}

// lost returns a channel that is closed once the connection is lost.
func (l *link) lost() <-chan struct{} { return l.broken }

func (l *link) markLost() { l.once.Do(func() { close(l.broken) }) }

// shut closes the connection. It talks to the daemon, so it may hang. No call
// may be in flight on the connection.
func (l *link) shut() {
	// The callback holds a reference on the connection; without this call the
	// connection would stay open for ever. It fails where the callback has
	// fired already, which has freed it.
	_ = l.conn.UnregisterCloseCallback()
	_, _ = l.conn.Close()
}

// dial opens a connection. It may hang.
func (c *Client) dial() (*link, error) {
	conn, err := c.open()
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, broken: make(chan struct{})}
	err = conn.RegisterCloseCallback(func(*lv.Connect, lv.ConnectCloseReason) { l.markLost() })
	if err != nil && !errors.Is(err, lv.ERR_NO_SUPPORT) {
		l.shut()
		return nil, err
	}
	seconds := int((c.config.KeepAliveInterval + time.Second - 1) / time.Second)
	if err := conn.SetKeepAlive(seconds, uint(c.config.KeepAliveCount)); err != nil {
		// Drivers inside this process have no connection to keep alive.
		c.log.Debug("Connection has no keepalive")
	}
	return l, nil
}
