package v1alpha1

// HypervisorSpec is what an administrator says about a node. Agents read it and never write
// it.
type HypervisorSpec struct {
	// networkMappings says what networks and bridges of other hosts are called on this one.
	// Guests that come here are connected accordingly, unless their migrateData.interfaces
	// says otherwise.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="self.all(m, m.kind != 'Bridge' || m.from.matches('^[^ ]{1,15}$') && m.to.matches('^[^ ]{1,15}$'))",message="the name of a bridge has at most 15 characters and no blanks"
	NetworkMappings []NetworkMapping `json:"networkMappings,omitempty"`
}

// NetworkKind is what an interface of a guest is connected to.
//
// +k8s:enum
type NetworkKind string

// The kinds of networks.
const (
	// NetworkKindNetwork is a network of libvirt's.
	NetworkKindNetwork NetworkKind = "Network"
	// NetworkKindBridge is a bridge of the host, be it the kernel's or Open vSwitch's.
	NetworkKindBridge NetworkKind = "Bridge"
)

// NetworkMapping maps a network or bridge by its name.
type NetworkMapping struct {
	// kind is what it is, on both hosts.
	// +required
	Kind NetworkKind `json:"kind,omitempty"`
	// from is its name on the source host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f\x7f/]+$`
	From string `json:"from,omitempty"`
	// to is its name on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f\x7f/]+$`
	To string `json:"to,omitempty"`
}
