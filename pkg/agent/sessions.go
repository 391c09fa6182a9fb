package agent

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// Sessions are the running sessions of one side of a node, one for each
// LiveMigration.
type Sessions struct {
	node *Node
	run  func(ctx context.Context, node *Node, box *mailbox)

	mu    sync.Mutex
	ctx   context.Context //nolint:containedctx // The lifetime of Start, which every session shares.
	ended bool
	boxes map[types.UID]*mailbox
	names map[types.NamespacedName]types.UID
	wg    sync.WaitGroup
}

// NewSourceSessions returns the sessions in which the node sends guests.
func NewSourceSessions(node *Node) *Sessions { return newSessions(node, runSource) }

// NewTargetSessions returns the sessions in which the node receives guests.
func NewTargetSessions(node *Node) *Sessions { return newSessions(node, runTarget) }

func newSessions(node *Node, run func(context.Context, *Node, *mailbox)) *Sessions {
	return &Sessions{
		node: node, run: run,
		boxes: map[types.UID]*mailbox{}, names: map[types.NamespacedName]types.UID{},
	}
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

// Ensure hands the latest version of an object to its session, which it starts
// if there is none and the migration has not ended. It reports false, and does
// nothing, before Start; after the end of Start's context it does nothing.
func (s *Sessions) Ensure(lm *v1alpha1.LiveMigration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return false
	}
	if s.ended {
		return true
	}
	name := types.NamespacedName{Namespace: lm.Namespace, Name: lm.Name}
	if old, ok := s.names[name]; ok && old != lm.UID {
		s.closeLocked(old)
	}
	if box, ok := s.boxes[lm.UID]; ok {
		box.put(lm)
		return true
	}
	if migration.Finished(lm) {
		return true
	}
	s.names[name] = lm.UID
	box := newMailbox(lm)
	s.boxes[lm.UID] = box
	s.wg.Go(func() {
		s.run(s.ctx, s.node, box)
		s.forget(name, lm.UID, box)
	})
	return true
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

func (s *Sessions) forget(name types.NamespacedName, uid types.UID, box *mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[uid] == box {
		delete(s.boxes, uid)
	}
	if s.names[name] == uid {
		delete(s.names, name)
	}
}
