package agent

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// mailbox holds the latest version of a session's object.
type mailbox struct {
	mu      sync.Mutex
	latest  *v1alpha1.LiveMigration
	gone    bool
	changed chan struct{}
}

func newMailbox(lm *v1alpha1.LiveMigration) *mailbox {
	return &mailbox{latest: lm, changed: make(chan struct{}, 1)}
}

func (m *mailbox) put(lm *v1alpha1.LiveMigration) {
	m.mu.Lock()
	m.latest, m.gone = lm, false
	m.mu.Unlock()
	m.wake()
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

func (m *mailbox) get() (lm *v1alpha1.LiveMigration, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest, m.gone
}

func (m *mailbox) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}
