package v1alpha1

// ProgressStatus is how far the copying has come.
type ProgressStatus struct {
	// percent of the memory and disks that has been copied. It never falls, and
	// is 100 only once the migration has succeeded on the source's word.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
	// memory counts the guest's memory.
	// +optional
	Memory *TransferStatus `json:"memory,omitempty"`
	// disk counts the guest's disks that are copied along.
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
	// expectedDowntimeMilliseconds is the hypervisor's estimate of the pause
	// for the switch-over; absent until there is one and after the end.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ExpectedDowntimeMilliseconds *int64 `json:"expectedDowntimeMilliseconds,omitempty"`
	// throttlePercent is by how much auto-convergence slows the guest down.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	ThrottlePercent int32 `json:"throttlePercent,omitempty"`
	// postCopyRequests is how many pages the target had to ask for in post-copy.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PostCopyRequests int64 `json:"postCopyRequests,omitempty"`
	// switchover is what brought the guest to the target, once it is there:
	// Converged, PostCopy or Paused.
	// +optional
	Switchover SwitchoverReason `json:"switchover,omitempty"`
	// elapsedMilliseconds is the age of the migration job.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ElapsedMilliseconds int64 `json:"elapsedMilliseconds,omitempty"`
	// downtimeMilliseconds is the guest's real pause, once the job has ended
	// and the source's hypervisor has told it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
}

// SwitchoverReason is what brought a guest to its target.
//
// +kubebuilder:validation:Enum=Converged;PostCopy;Paused
type SwitchoverReason string

// The reasons of a switch-over.
const (
	// SwitchoverConverged: the rest could be copied within the allowed downtime.
	SwitchoverConverged SwitchoverReason = "Converged"
	// SwitchoverPostCopy: the guest went ahead, and the rest followed.
	SwitchoverPostCopy SwitchoverReason = "PostCopy"
	// SwitchoverPaused: the guest was paused so that the copying could end.
	SwitchoverPaused SwitchoverReason = "Paused"
)

// TransferStatus counts what is copied, in bytes.
type TransferStatus struct {
	// totalBytes is the size of all that is to be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TotalBytes int64 `json:"totalBytes"`
	// processedBytes has been copied so far, rewritten parts counted again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ProcessedBytes int64 `json:"processedBytes"`
	// remainingBytes is still to be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RemainingBytes int64 `json:"remainingBytes"`
}
