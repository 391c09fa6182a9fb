package v1alpha1

// MACAddress is a MAC address with colons, in either case.
//
// +kubebuilder:validation:MaxLength=17
// +kubebuilder:validation:Pattern=`^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$`
type MACAddress string

// InterfaceMigrateData says what one network interface is connected to on the target.
// Absent parts stay as they are in the guest's definition. What the guest sees (address,
// model, MTU, queues) never changes.
type InterfaceMigrateData struct {
	// macAddress finds the interface.
	// +required
	MACAddress MACAddress `json:"macAddress"`

	// guestAddress is the interface's address inside the guest: on PCI, such as
	// 0000:01:00.0, or as a channel device, such as fe.0.0001. It is needed only to
	// tell apart interfaces with the same MAC address. Without it, of a passed-through
	// function and the virtio interface that stands in for it, an entry means the
	// function if its source is hostDevice, and else the other.
	// +optional
	GuestAddress *GuestAddress `json:"guestAddress,omitempty"`

	// alias is the name that the guest's definition gives the interface, which starts
	// with ua-. Like guestAddress, it is needed only to tell apart interfaces with the
	// same MAC address, such as those that are on neither bus. Names that libvirt makes
	// up, such as net0, mean nothing, as it makes up others for the next start.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^ua-[a-zA-Z0-9_-]+$`
	Alias *string `json:"alias,omitempty"`

	// source is what the interface is connected to. If its kind changes, a virtual port
	// and a device name of the old kind are removed.
	// +optional
	Source *InterfaceSource `json:"source,omitempty"`

	// targetDevice is the name of the interface's device on the target host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[^\s/]+$`
	TargetDevice *string `json:"targetDevice,omitempty"`

	// virtualPort identifies the interface to a virtual switch. Empty means
	// no virtual port.
	// +optional
	VirtualPort *VirtualPort `json:"virtualPort,omitempty"`

	// vlan tags the interface's traffic. Empty means no tags.
	// +optional
	VLAN *InterfaceVLAN `json:"vlan,omitempty"`

	// filter is the network filter in force. Empty means no filter.
	// +optional
	Filter *NetworkFilter `json:"filter,omitempty"`

	// bandwidth limits the interface's traffic. Empty means no limits.
	// +optional
	Bandwidth *InterfaceBandwidth `json:"bandwidth,omitempty"`

	// driver is the host's side of a virtio interface.
	// +optional
	Driver *InterfaceDriver `json:"driver,omitempty"`
}

// InterfaceDriver is the host's side of a virtio interface, as libvirt names it.
//
// +kubebuilder:validation:Enum=vhost;qemu
type InterfaceDriver string

// InterfaceSource is one of the things that an interface can be connected to.
//
// +kubebuilder:validation:ExactlyOneOf=bridge;network;direct;ethernet;vhostUser;vdpa;hostDevice
type InterfaceSource struct {
	// bridge is a bridge, or an Open vSwitch bridge with a virtual port.
	// +optional
	Bridge *BridgeInterfaceSource `json:"bridge,omitempty"`

	// network is one of libvirt's networks.
	// +optional
	Network *NetworkInterfaceSource `json:"network,omitempty"`

	// direct is a device of the target host, shared by macvtap.
	// +optional
	Direct *DirectInterfaceSource `json:"direct,omitempty"`

	// ethernet is a tap device that something else connects.
	// +optional
	Ethernet *EthernetInterfaceSource `json:"ethernet,omitempty"`

	// vhostUser is the socket of a switch that speaks vhost-user.
	// +optional
	VhostUser *VhostUserInterfaceSource `json:"vhostUser,omitempty"`

	// vdpa is a vhost-vdpa device of the target.
	// +optional
	VDPA *PathSource `json:"vdpa,omitempty"`

	// hostDevice is a PCI function of the target that is passed through. The guest sees
	// that function, so an interface cannot change to or from this kind.
	// +optional
	HostDevice *HostDeviceInterfaceSource `json:"hostDevice,omitempty"`
}

// BridgeInterfaceSource is a bridge.
type BridgeInterfaceSource struct {
	// name is the bridge's name on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[^\s/]+$`
	Name string `json:"name"`
}

// NetworkInterfaceSource is a libvirt network.
type NetworkInterfaceSource struct {
	// name is the network's name on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// portGroup is the network's port group.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PortGroup *string `json:"portGroup,omitempty"`
}

// DirectMode is a macvtap mode as libvirt names it.
//
// +kubebuilder:validation:Enum=vepa;bridge;private;passthrough
type DirectMode string

// DirectInterfaceSource is a device shared by macvtap.
type DirectInterfaceSource struct {
	// device is the device's name on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[^\s/]+$`
	Device string `json:"device"`

	// mode is the macvtap mode. Absent means libvirt's default, vepa.
	// +optional
	Mode *DirectMode `json:"mode,omitempty"`
}

// TapManagement says who creates a tap device.
//
// +kubebuilder:validation:Enum=Libvirt;External
type TapManagement string

const (
	// TapManagementLibvirt lets libvirt create the device.
	TapManagementLibvirt TapManagement = "Libvirt"
	// TapManagementExternal expects the device to exist.
	TapManagementExternal TapManagement = "External"
)

// EthernetInterfaceSource is a tap device that something else connects. Its
// name is targetDevice.
type EthernetInterfaceSource struct {
	// tapManagement says who creates the tap device. Absent leaves that as
	// the guest has it.
	// +optional
	TapManagement *TapManagement `json:"tapManagement,omitempty"`
}

// VhostUserMode says who opens a vhost-user socket, as libvirt names it.
//
// +kubebuilder:validation:Enum=client;server
type VhostUserMode string

// VhostUserInterfaceSource is the socket of a switch that speaks vhost-user.
type VhostUserInterfaceSource struct {
	// path is the socket's path on the target.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=107
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x1f]+$`
	Path string `json:"path"`

	// mode is QEMU's role.
	// +required
	Mode VhostUserMode `json:"mode"`
}

// HostDeviceInterfaceSource is a PCI function that is passed through.
type HostDeviceInterfaceSource struct {
	// pciAddress is the function's address on the target host.
	// +required
	PCIAddress PCIAddress `json:"pciAddress"`
}

// VirtualPortType is a type of virtual port as libvirt names it.
//
// +kubebuilder:validation:Enum=openvswitch;midonet;802.1Qbg;802.1Qbh
type VirtualPortType string

// VirtualPort identifies an interface to a virtual switch.
//
// +kubebuilder:validation:XValidation:rule="has(self.type) || !(has(self.interfaceID) || has(self.profileID) || has(self.managerID) || has(self.typeID) || has(self.typeIDVersion) || has(self.instanceID))",message="type is required unless the virtual port is empty"
type VirtualPort struct {
	// type is the type of virtual port.
	// +optional
	Type *VirtualPortType `json:"type,omitempty"`

	// interfaceID identifies the interface to openvswitch and midonet.
	// +optional
	InterfaceID *UUID `json:"interfaceID,omitempty"`

	// profileID is the port profile of openvswitch and 802.1Qbh.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=39
	ProfileID *string `json:"profileID,omitempty"`

	// managerID is the VSI manager of 802.1Qbg.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	ManagerID *int32 `json:"managerID,omitempty"`

	// typeID is the VSI type of 802.1Qbg.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16777215
	TypeID *int32 `json:"typeID,omitempty"`

	// typeIDVersion is the version of the VSI type of 802.1Qbg.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	TypeIDVersion *int32 `json:"typeIDVersion,omitempty"`

	// instanceID is the VSI instance of 802.1Qbg.
	// +optional
	InstanceID *UUID `json:"instanceID,omitempty"`
}

// InterfaceVLAN tags an interface's traffic.
type InterfaceVLAN struct {
	// trunk says whether the guest sees tagged traffic. It may be absent with
	// at most one tag.
	// +optional
	Trunk *Toggle `json:"trunk,omitempty"`

	// tags holds the tags.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=128
	Tags []VLANTag `json:"tags,omitempty"`
}

// VLANNativeMode says how untagged traffic is treated, as libvirt names it.
//
// +kubebuilder:validation:Enum=tagged;untagged
type VLANNativeMode string

// VLANTag is one tag.
type VLANTag struct {
	// id is the tag's number.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4095
	ID int32 `json:"id"`

	// nativeMode makes this the tag of untagged traffic.
	// +optional
	NativeMode *VLANNativeMode `json:"nativeMode,omitempty"`
}

// NetworkFilter is one of libvirt's network filters.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) || !has(self.parameters) || self.parameters.size() == 0",message="parameters need a name of a filter"
type NetworkFilter struct {
	// name is the filter's name on the target.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name *string `json:"name,omitempty"`

	// parameters holds the values of the filter's variables, in order; a
	// variable may have several.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Parameters []FilterParameter `json:"parameters,omitempty"`
}

// FilterParameter is a value of a filter's variable.
type FilterParameter struct {
	// name is the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_]+$`
	Name string `json:"name"`

	// value is its value.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.:/-]+$`
	Value string `json:"value"`
}

// InterfaceBandwidth limits an interface's traffic.
//
// +kubebuilder:validation:XValidation:rule="!has(self.outbound) || !has(self.outbound.floorKilobytesPerSecond)",message="only inbound traffic can have a guaranteed rate"
type InterfaceBandwidth struct {
	// inbound limits what the guest receives.
	// +optional
	Inbound *BandwidthLimit `json:"inbound,omitempty"`

	// outbound limits what the guest sends.
	// +optional
	Outbound *BandwidthLimit `json:"outbound,omitempty"`
}

// BandwidthLimit limits one direction.
type BandwidthLimit struct {
	// averageKilobytesPerSecond is the average rate.
	// +required
	// +kubebuilder:validation:Minimum=1
	AverageKilobytesPerSecond int64 `json:"averageKilobytesPerSecond"`

	// peakKilobytesPerSecond is the highest rate.
	// +optional
	// +kubebuilder:validation:Minimum=1
	PeakKilobytesPerSecond *int64 `json:"peakKilobytesPerSecond,omitempty"`

	// burstKilobytes is how much may be sent at the highest rate.
	// +optional
	// +kubebuilder:validation:Minimum=1
	BurstKilobytes *int64 `json:"burstKilobytes,omitempty"`

	// floorKilobytesPerSecond is the guaranteed rate. Only the inbound traffic
	// of interfaces on a libvirt network can have one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	FloorKilobytesPerSecond *int64 `json:"floorKilobytesPerSecond,omitempty"`
}
