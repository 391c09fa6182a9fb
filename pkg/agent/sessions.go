package agent

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// A session that panics is started again after a pause, which doubles from
// restartFirst to restartMost.
const (
	restartFirst = time.Second
	restartMost  = time.Minute
)

// Sessions are the running sessions of one side of a node, one for each
// LiveMigration.
type Sessions struct {
	node *Node
	side side

	mu    sync.Mutex
	ctx   context.Context //nolint:containedctx // The lifetime of Start, which every session shares.
	ended bool
	boxes map[types.UID]*mailbox
	names map[types.NamespacedName]types.UID
	wg    sync.WaitGroup
}

// side is what the sessions of one side do.
type side struct {
	// run runs a session until its migration is done or ctx ends.
	run func(ctx context.Context, node *Node, box *mailbox)
	// restore takes over what an earlier process has promised to an object, and
	// release ends that when its session is over.
	restore func(lm *v1alpha1.LiveMigration)
	release func(uid types.UID)
	// left reports whether there is something left to do for a migration that has ended.
	left func(lm *v1alpha1.LiveMigration) bool
}

// NewSourceSessions returns the sessions in which the node sends guests.
func NewSourceSessions(node *Node) *Sessions {
	return newSessions(node, side{run: runSource, restore: func(*v1alpha1.LiveMigration) {}, release: func(types.UID) {}, left: node.leavesFrozen})
}

// NewTargetSessions returns the sessions in which the node receives guests.
func NewTargetSessions(node *Node) *Sessions {
	return newSessions(node, side{run: runTarget, restore: node.keepPromises, release: node.releaseTarget, left: node.getsFrozen})
}

func newSessions(node *Node, s side) *Sessions {
	return &Sessions{node: node, side: s, boxes: map[types.UID]*mailbox{}, names: map[types.NamespacedName]types.UID{}}
}

// Start gives sessions their lifetime and returns when ctx has ended and every
// session with it. Migrations that are under way go on in libvirt, and the next
// agent adopts them.
func (s *Sessions) Start(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// Adopt hands over the objects that there are when the agent starts, before any
// session begins: what an earlier process has promised to one of them must not
// be promised to another. It reports false, and does nothing, before Start.
func (s *Sessions) Adopt(objects []*v1alpha1.LiveMigration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return false
	}
	for _, lm := range objects {
		if !migration.Finished(lm) {
			s.side.restore(lm)
		}
	}
	for _, lm := range objects {
		s.ensureLocked(lm)
	}
	return true
}

// Ensure hands the latest version of an object to its session, which it starts
// if there is none and the migration has not ended, or has left something to do here. It reports false, and does
// nothing, before Start; after the end of Start's context it does nothing.
func (s *Sessions) Ensure(lm *v1alpha1.LiveMigration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return false
	}
	s.ensureLocked(lm)
	return true
}

func (s *Sessions) ensureLocked(lm *v1alpha1.LiveMigration) {
	if s.ended {
		return
	}
	name := types.NamespacedName{Namespace: lm.Namespace, Name: lm.Name}
	if old, ok := s.names[name]; ok && old != lm.UID {
		s.closeLocked(old)
	}
	if box, ok := s.boxes[lm.UID]; ok {
		// A session that is ending is looked after by serve.
		box.put(lm)
		return
	}
	if s.over(lm) {
		return
	}
	s.names[name] = lm.UID
	box := newMailbox(lm)
	s.boxes[lm.UID] = box
	s.wg.Go(func() { s.serve(s.ctx, name, lm.UID, box) })
}

// over reports whether there is nothing to do for a migration any more.
func (s *Sessions) over(lm *v1alpha1.LiveMigration) bool {
	return migration.Finished(lm) && !s.side.left(lm)
}

// Serves reports whether the object of that name has a session.
func (s *Sessions) Serves(name types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.names[name]
	return ok
}

// Remove tells the session of that name, if there is one, that its object no
// longer concerns the node.
func (s *Sessions) Remove(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uid, ok := s.names[name]; ok {
		s.closeLocked(uid)
	}
}

func (s *Sessions) closeLocked(uid types.UID) {
	if box, ok := s.boxes[uid]; ok {
		box.close(metav1.NewTime(s.node.Clock.Now()))
	}
}

// serve runs an object's session: again where it has ended without having seen the
// object's latest version, and again after a pause where it has panicked. The next
// session finds what the one before has recorded, as that of another process does.
func (s *Sessions) serve(ctx context.Context, name types.NamespacedName, uid types.UID, box *mailbox) {
	pause := restartFirst
	for {
		panicked := s.attempt(ctx, box)
		if s.forget(name, uid, box, panicked) {
			return
		}
		if !panicked {
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.node.Clock.After(wait.Jitter(pause, jitterFactor)):
		}
		pause = min(2*pause, restartMost)
	}
}

// attempt runs a session once and reports whether it has panicked.
func (s *Sessions) attempt(ctx context.Context, box *mailbox) (panicked bool) {
	ctx, cancel := context.WithCancel(ctx)
	// What the session has left behind ends with it.
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			panicked = true
			lm, _, _ := box.peek()
			s.node.Log.Error(fmt.Errorf("panic: %v", cause), "A session panicked; starting it again",
				"LiveMigration", klog.KObj(lm), "stack", string(debug.Stack()))
		}
	}()
	s.side.run(ctx, s.node, box)
	return false
}

// forget ends the service of an object, unless there is something left to do.
func (s *Sessions) forget(name types.NamespacedName, uid types.UID, box *mailbox, panicked bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	lm, gone, unread := box.peek()
	if (unread || panicked) && !gone && !s.over(lm) && !s.ended && s.ctx.Err() == nil {
		return false
	}
	delete(s.boxes, uid)
	if s.names[name] == uid {
		delete(s.names, name)
	}
	s.side.release(uid)
	return true
}
