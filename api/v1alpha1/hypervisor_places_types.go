package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HostNames are names of something.
type HostNames struct {
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// names are their names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	Names []string `json:"names,omitempty"`
}

// HostNetworks are libvirt's networks on a host.
type HostNetworks struct {
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// items are these.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Items []HostNetwork `json:"items,omitempty"`
}

// HostNetwork is a network of libvirt's.
type HostNetwork struct {
	// name is the network's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`
	// state is Active, or Inactive if guests cannot be connected to it.
	// +required
	// +kubebuilder:validation:MaxLength=16
	State string `json:"state,omitempty"`
	// forward is libvirt's word for where traffic goes, such as nat, route or bridge;
	// absent in an isolated network.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Forward string `json:"forward,omitempty"`
	// bridge is the host's bridge that the network uses.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Bridge string `json:"bridge,omitempty"`
}

// HostStoragePools are libvirt's storage pools on a host.
type HostStoragePools struct {
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// items are these.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Items []HostStoragePool `json:"items,omitempty"`
}

// HostStoragePool is a storage pool of libvirt's.
type HostStoragePool struct {
	// name is the pool's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`
	// type is libvirt's type of the pool, such as dir, logical or rbd.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Type string `json:"type,omitempty"`
	// state is libvirt's state of the pool: Running, Inactive, Building, Degraded or
	// Inaccessible.
	// +required
	// +kubebuilder:validation:MaxLength=16
	State string `json:"state,omitempty"`
	// path is the directory of its volumes.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Path string `json:"path,omitempty"`
	// capacityBytes is how much it can hold.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CapacityBytes *int64 `json:"capacityBytes,omitempty"`
	// availableBytes is how much of that was free when libvirt looked last: when the pool
	// was started or refreshed, or a volume was made or deleted by libvirt.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AvailableBytes *int64 `json:"availableBytes,omitempty"`
}

// HostMediatedDevices are the types of mediated devices that a host can make.
type HostMediatedDevices struct {
	// count is how many types there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// items are these.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Items []HostMediatedType `json:"items,omitempty"`
}

// HostMediatedType is a type of mediated devices.
type HostMediatedType struct {
	// type is the driver's name of the type.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Type string `json:"type,omitempty"`
	// name is the type's name for people.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`
	// deviceAPI is how guests use it, such as vfio-pci.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	DeviceAPI string `json:"deviceAPI,omitempty"`
	// parents is how many of the host's devices can be divided so.
	// +required
	// +kubebuilder:validation:Minimum=0
	Parents int32 `json:"parents"`
	// available is how many more such devices can be made.
	// +required
	// +kubebuilder:validation:Minimum=0
	Available int32 `json:"available"`
}

// HostTLS is what a host has of certificates, where libvirt looks for them.
type HostTLS struct {
	// control are those by which libvirt talks to libvirt.
	// +optional
	Control *HostCredentials `json:"control,omitempty"`
	// migration are those by which QEMU talks to QEMU, for memory and disks.
	// +optional
	Migration *HostCredentials `json:"migration,omitempty"`
}

// HostCredentials are certificates of a host.
type HostCredentials struct {
	// directory is where they are.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Directory string `json:"directory,omitempty"`
	// authority is the authority that is trusted; of several, of those that are valid the one
	// that ends last.
	// +required
	Authority HostCertificate `json:"authority,omitzero"`
	// server is shown to those who connect to the host.
	// +required
	Server HostCertificate `json:"server,omitzero"`
	// client is shown to hosts that this one connects to.
	// +required
	Client HostCertificate `json:"client,omitzero"`
}

// CertificateState says whether a certificate serves its purpose.
//
// +k8s:enum
type CertificateState string

// The states of certificates.
const (
	// CertificateReady: it is there with its key, valid, and signed by the authority.
	CertificateReady CertificateState = "Ready"
	// CertificateMissing: it is not there.
	CertificateMissing CertificateState = "Missing"
	// CertificateUnreadable: the agent cannot read it.
	CertificateUnreadable CertificateState = "Unreadable"
	// CertificateMalformed: it is none.
	CertificateMalformed CertificateState = "Malformed"
	// CertificateKeyMissing: its key is not there.
	CertificateKeyMissing CertificateState = "KeyMissing"
	// CertificateExpired: it has ended.
	CertificateExpired CertificateState = "Expired"
	// CertificateNotYetValid: it has not begun.
	CertificateNotYetValid CertificateState = "NotYetValid"
	// CertificateUntrusted: it is not signed by the authority, though that is valid, or not for
	// this use.
	CertificateUntrusted CertificateState = "Untrusted"
)

// HostCertificate is a certificate.
type HostCertificate struct {
	// state is whether it serves its purpose.
	// +required
	State CertificateState `json:"state,omitempty"`
	// notAfter is when it ends.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
}

// PostCopyState is whether a host can receive guests in post-copy.
//
// +k8s:enum
type PostCopyState string

// The states of post-copy.
const (
	PostCopyAvailable   PostCopyState = "Available"
	PostCopyUnavailable PostCopyState = "Unavailable"
)

// HostPostCopy is whether a host can receive guests in post-copy.
type HostPostCopy struct {
	// state is whether it can.
	// +required
	State PostCopyState `json:"state,omitempty"`
	// message is why.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}
