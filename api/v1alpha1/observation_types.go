package v1alpha1

// DomainObservation is a guest on one side at one moment.
type DomainObservation struct {
	// state is libvirt's state of the domain, or Absent if libvirt does not know it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	State string `json:"state,omitempty"`
	// reason is libvirt's reason for the state.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// id is the host's number of this run of the domain; absent if it is not active. A
	// domain that is started again has another.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ID int64 `json:"id,omitempty"`
	// job is the operation of the domain's current job, if it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Job string `json:"job,omitempty"`
	// defined is whether the domain has a persistent definition.
	// +optional
	Defined bool `json:"defined,omitempty"`
}

// StateAbsent is DomainObservation's state of a domain that libvirt does not
// know.
const StateAbsent = "Absent"

// Problem is why an agent refuses a migration.
type Problem struct {
	// reason is a reason of the Succeeded condition.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([A-Za-z]|[A-Za-z][A-Za-z0-9_,:]*[A-Za-z0-9_])$`
	Reason string `json:"reason,omitempty"`
	// message says what is wrong and what to do.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Message string `json:"message,omitempty"`
}
