package v1alpha1

// GuestLoad is what there is to be copied of a guest, and how fast the guest changes it.
type GuestLoad struct {
	// memoryBytes is the memory that the guest has now.
	// +required
	// +kubebuilder:validation:Minimum=0
	MemoryBytes int64 `json:"memoryBytes"`
	// diskBytes is what the images of those disks occupy that would be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DiskBytes int64 `json:"diskBytes,omitempty"`
	// dirtyBytesPerSecond is how much of its memory the guest changes in a second, as QEMU
	// has sampled it in one. Absent if QEMU could not tell.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DirtyBytesPerSecond *int64 `json:"dirtyBytesPerSecond,omitempty"`
}

// Forecast is how a migration can be expected to go, by what its guest did and what the
// nodes' links allowed when it was made.
type Forecast struct {
	// copyBytes is what is to be copied once: the guest's memory, and those of its disks that
	// the target does not have. Memory that is all zeroes costs nothing, so it is less in the end.
	// +required
	// +kubebuilder:validation:Minimum=0
	CopyBytes int64 `json:"copyBytes"`
	// dirtyBytesPerSecond is how much of its memory the guest changes in a second.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DirtyBytesPerSecond *int64 `json:"dirtyBytesPerSecond,omitempty"`
	// bandwidthBytesPerSecond is what there is for the copy: options.bandwidthMiBps, and no
	// more than the share of either node's link where as many guests move as may at a time.
	// Absent if neither is known.
	// +optional
	// +kubebuilder:validation:Minimum=0
	BandwidthBytesPerSecond *int64 `json:"bandwidthBytesPerSecond,omitempty"`
	// converges is whether the copy catches up with the guest, so that it switches over within
	// the downtime that is allowed, without help. Absent if that cannot be told.
	// +optional
	Converges *bool `json:"converges,omitempty"`
	// durationSeconds is how long that takes, from the start of the copy. Absent if it does not
	// converge.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DurationSeconds *int64 `json:"durationSeconds,omitempty"`
	// downtimeMilliseconds is for how long what is left then keeps the guest paused. What
	// libvirt and QEMU need besides is not in it. Absent if it does not converge.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
}
