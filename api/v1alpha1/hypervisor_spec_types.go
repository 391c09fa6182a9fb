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
	// storageMappings says where storage of other hosts is found on this one. The disks of
	// guests that come here are looked for, or copied to, accordingly, unless their
	// migrateData.volumes says otherwise.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(m, m.kind != 'Directory' || [m.from, m.to].all(d, d.startsWith('/') && d.size() > 1 && !d.matches('//|/$|/[.]{1,2}(/|$)')))",message="a directory is given by its absolute path without . or .. in it or surplus slashes, and is not the root of all files"
	// +kubebuilder:validation:XValidation:rule="self.all(m, m.kind != 'Pool' || !m.from.contains('/') && !m.to.contains('/'))",message="a pool is given by its name, which has no slashes; give the directory of its volumes with the kind Directory"
	// +kubebuilder:validation:XValidation:rule="self.all(m, m.kind != 'Directory' || !m.to.startsWith(m.from + '/'))",message="a directory cannot be found below itself: what is there on other hosts already would be looked for one level deeper"
	StorageMappings []StorageMapping `json:"storageMappings,omitempty"`
}

// StorageKind is what the data of a guest's disks are in.
//
// +k8s:enum
type StorageKind string

// The kinds of storage.
const (
	// StorageKindPool is a storage pool of libvirt's, which the guest's definition names.
	StorageKindPool StorageKind = "Pool"
	// StorageKindDirectory is a directory of the host, with all files that are anywhere below
	// it.
	StorageKindDirectory StorageKind = "Directory"
)

// StorageMapping says where storage of the source host is found on the target.
type StorageMapping struct {
	// kind is what it is, on both hosts.
	// +required
	Kind StorageKind `json:"kind,omitempty"`
	// from is the name of the pool, or the path of the directory, on the source host. Of several
	// directories that a file is in, the innermost counts.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f\x7f]+$`
	From string `json:"from,omitempty"`
	// to is that on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f\x7f]+$`
	To string `json:"to,omitempty"`
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
