package agent

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// mailbox holds the latest version of a session's object.
type mailbox struct {
	mu     sync.Mutex
	latest *v1alpha1.LiveMigration
	gone   bool
	// unread is whether the session has not seen the latest version yet.
	unread  bool
	changed chan struct{}
}

func newMailbox(lm *v1alpha1.LiveMigration) *mailbox {
	return &mailbox{latest: lm, unread: true, changed: make(chan struct{}, 1)}
}

// put hands an object over. The session is woken unless all that is new is the
// progress that it has reported itself.
func (m *mailbox) put(lm *v1alpha1.LiveMigration) {
	m.mu.Lock()
	before := m.latest
	m.latest, m.gone, m.unread = lm, false, true
	m.mu.Unlock()
	if !onlyProgress(before, lm) {
		m.wake()
	}
}

// onlyProgress reports whether two versions of an object differ in progress at
// most.
func onlyProgress(before, after *v1alpha1.LiveMigration) bool {
	b, a := before.Status, after.Status
	b.Progress, a.Progress = nil, nil
	return before.Generation == after.Generation && before.DeletionTimestamp.Equal(after.DeletionTimestamp) &&
		maps.Equal(before.Annotations, after.Annotations) && equality.Semantic.DeepEqual(b, a)
}

// close says that the object no longer concerns this node. A migration that
// has not started is over then; one that has is treated as cancelled, as it is
// when its object is being deleted.
func (m *mailbox) close(now metav1.Time) {
	m.mu.Lock()
	m.gone = true
	if m.latest.DeletionTimestamp == nil {
		m.latest = m.latest.DeepCopy()
		m.latest.DeletionTimestamp = &now
	}
	m.mu.Unlock()
	m.wake()
}

// get returns the latest version to the session.
func (m *mailbox) get() (lm *v1alpha1.LiveMigration, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unread = false
	return m.latest, m.gone
}

// peek returns it to anybody else, with whether the session has yet to see it.
func (m *mailbox) peek() (lm *v1alpha1.LiveMigration, gone, unread bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest, m.gone, m.unread
}

func (m *mailbox) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}
