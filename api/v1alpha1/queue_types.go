package v1alpha1

// QueueStatus is a migration's place in the queue.
type QueueStatus struct {
	// order orders migrations that were created in the same second: the one that was
	// applied first has the lower number. Written once.
	// +required
	// +kubebuilder:validation:Minimum=0
	Order int64 `json:"order"`
	// waitingFor is what the migration waits for; absent if it waits for nothing.
	// +optional
	WaitingFor SlotKind `json:"waitingFor,omitempty"`
	// position is the place among those that wait for the same thing: 1 is next. Beyond
	// 5 it is rounded up, to 10, 20, 50, 100 and so on. Absent if the migration waits
	// for nothing.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Position int32 `json:"position,omitempty"`
}

// SlotKind is a kind of slot, of which there is a limited number.
//
// +kubebuilder:validation:Enum=Source;Target;Cluster
type SlotKind string

// The kinds of slots.
const (
	// SlotSource: the source node already sends as many guests as it may.
	SlotSource SlotKind = "Source"
	// SlotTarget: the target node already receives as many guests as it may.
	SlotTarget SlotKind = "Target"
	// SlotCluster: the cluster already moves as many guests as it may.
	SlotCluster SlotKind = "Cluster"
)
