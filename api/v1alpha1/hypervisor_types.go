package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Hypervisor is the libvirt of one node, as the node's agent publishes it. Its
// name is the node's.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=hv,categories=virtferry
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Guests",type=integer,JSONPath=`.status.domainCount`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.migrationAddress`
// +kubebuilder:printcolumn:name="Libvirt",type=string,JSONPath=`.status.libvirtVersion`
// +kubebuilder:printcolumn:name="Qemu",type=string,JSONPath=`.status.hypervisorVersion`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="CPU",type=string,priority=1,JSONPath=`.status.host.cpu.offered.hostModel.model`
// +kubebuilder:printcolumn:name="CPUs",type=integer,priority=1,JSONPath=`.status.host.cpu.cpuCount`
// +kubebuilder:printcolumn:name="Kernel",type=string,priority=1,JSONPath=`.status.host.kernelVersion`
// +kubebuilder:printcolumn:name="Post-copy",type=string,priority=1,JSONPath=`.status.host.postCopy.state`
// +kubebuilder:printcolumn:name="TLS",type=string,priority=1,JSONPath=`.status.host.tls.migration.server.state`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Hypervisor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what an administrator says about the node. It may be absent.
	// +optional
	Spec HypervisorSpec `json:"spec,omitzero"`
	// status is what the node's agent and the manager observe.
	// +optional
	Status HypervisorStatus `json:"status,omitzero"`
}

// HypervisorList is a list of Hypervisors.
//
// +kubebuilder:object:root=true
type HypervisorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Hypervisor `json:"items"`
}

// HypervisorStatus is what the node's agent and the manager observe.
type HypervisorStatus struct {
	// conditions: LibvirtConnected and CertificatesValid, written by the agent, and Ready,
	// WorkersSufficient and GuestsUpgradable, written by the manager.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// hostUUID is libvirt's UUID of the host. No two nodes may have the same.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	HostUUID string `json:"hostUUID,omitempty"`
	// libvirtVersion is the version of the node's libvirt daemon.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	LibvirtVersion string `json:"libvirtVersion,omitempty"`
	// hypervisorVersion is the version of QEMU.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	HypervisorVersion string `json:"hypervisorVersion,omitempty"`
	// migrationAddress is the address on which the node receives guests.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	MigrationAddress string `json:"migrationAddress,omitempty"`
	// maxWorkers is how many calls the node's libvirt daemon serves at once; absent if
	// the daemon does not report it. Each guest that leaves occupies one of its workers.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxWorkers int32 `json:"maxWorkers,omitempty"`
	// host is what the node's host has and offers, as its agent knows it.
	// +optional
	// +structType=atomic
	Host *HypervisorHost `json:"host,omitempty"`
	// domainCount is how many guests the node's libvirt knows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DomainCount int32 `json:"domainCount,omitempty"`
	// domains are these guests, active ones first. If there are more than an object can
	// hold, some are left out: then domainCount is larger than the length of the list.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Domains []HypervisorDomain `json:"domains,omitempty"`
	// strandedGuests are those of domains that run and could not go on on a newer QEMU,
	// whatever else they need: where the node is upgraded, they have to be started anew.
	// Written by the manager.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	StrandedGuests []StrandedGuest `json:"strandedGuests,omitempty"`
}

// StrandedGuest is a guest whose machine type a newer QEMU does not have.
type StrandedGuest struct {
	// uuid is the guest's UUID.
	// +required
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	UUID string `json:"uuid,omitempty"`
	// name is the guest's libvirt name, if it is known.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// machineType is the guest's.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MachineType string `json:"machineType,omitempty"`
}

// UnlistedDomains returns how many of the guests that the node's libvirt knows are
// not in Domains.
func (s *HypervisorStatus) UnlistedDomains() int { return max(int(s.DomainCount)-len(s.Domains), 0) }

// HypervisorDomain is a guest that a node's libvirt knows.
type HypervisorDomain struct {
	// uuid is the guest's UUID, in lower case and with dashes.
	// +required
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`
	UUID string `json:"uuid,omitempty"`
	// name is the guest's libvirt name. It is absent if it is longer than 256 characters
	// or not valid text.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// state is libvirt's state of the guest.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	State string `json:"state,omitempty"`
	// reason is libvirt's reason for the state.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// machineType is what machine QEMU emulates for the guest while it runs, such as
	// pc-q35-7.2. It stays the same when the guest is moved. Absent until the agent has read it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MachineType string `json:"machineType,omitempty"`
}
