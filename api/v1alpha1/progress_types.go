package v1alpha1

// ProgressStatus is how far the copy has got.
type ProgressStatus struct {
	// percent of the memory and disks that has been copied. It never falls, and is 100
	// only once the source reports that the migration has succeeded.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
	// memory counts the guest's memory.
	// +optional
	Memory *TransferStatus `json:"memory,omitempty"`
	// disk counts the guest's disks that are copied.
	// +optional
	Disk *TransferStatus `json:"disk,omitempty"`
	// memoryIteration counts the passes over the guest's memory, from one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MemoryIteration int64 `json:"memoryIteration,omitempty"`
	// dirtyBytesPerSecond is how fast the guest writes to its memory.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DirtyBytesPerSecond int64 `json:"dirtyBytesPerSecond,omitempty"`
	// bytesPerSecond is how fast memory is copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
	// expectedDowntimeMilliseconds is the hypervisor's estimate of the downtime at the
	// switch-over; absent until there is one and after the end.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ExpectedDowntimeMilliseconds *int64 `json:"expectedDowntimeMilliseconds,omitempty"`
	// throttlePercent is by how much auto-convergence slows the guest down.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	ThrottlePercent int32 `json:"throttlePercent,omitempty"`
	// postCopyRequests is how many pages the target had to request in post-copy.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PostCopyRequests int64 `json:"postCopyRequests,omitempty"`
	// switchover is how the switch-over came about, once the guest is on the target:
	// Converged, PostCopy or Paused.
	// +optional
	Switchover SwitchoverReason `json:"switchover,omitempty"`
	// elapsedMilliseconds is how long the migration job has been running.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ElapsedMilliseconds int64 `json:"elapsedMilliseconds,omitempty"`
	// downtimeMilliseconds is the measured downtime, once the job has ended and the
	// source's hypervisor has reported it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
}

// SwitchoverReason is how a switch-over came about.
//
// +kubebuilder:validation:Enum=Converged;PostCopy;Paused
type SwitchoverReason string

// The reasons of a switch-over.
const (
	// SwitchoverConverged: the rest could be copied within the allowed downtime.
	SwitchoverConverged SwitchoverReason = "Converged"
	// SwitchoverPostCopy: the guest was switched first, and the rest of its memory
	// followed.
	SwitchoverPostCopy SwitchoverReason = "PostCopy"
	// SwitchoverPaused: the guest was paused so that the copy could finish.
	SwitchoverPaused SwitchoverReason = "Paused"
)

// TransferStatus counts what is copied, in bytes.
type TransferStatus struct {
	// totalBytes is the size of all that is to be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TotalBytes int64 `json:"totalBytes"`
	// processedBytes has been copied so far; what is copied again is counted again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ProcessedBytes int64 `json:"processedBytes"`
	// remainingBytes is still to be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RemainingBytes int64 `json:"remainingBytes"`
}
