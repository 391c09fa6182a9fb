package v1alpha1

// VolumeMigrateData says where the data of one disk is on the target. Absent parts stay as
// they are in the guest's definition.
//
// +kubebuilder:validation:ExactlyOneOf=serial;targetDevice
// +kubebuilder:validation:XValidation:rule="!has(self.credentials) || has(self.source)",message="credentials says what becomes of them where source moves the data; give source, too"
type VolumeMigrateData struct {
	// serial finds the disk by its serial.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Serial *string `json:"serial,omitempty"`

	// targetDevice finds the disk by its device name in the guest's
	// definition, such as vda.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.-]+$`
	TargetDevice *string `json:"targetDevice,omitempty"`

	// source is where the data is. It replaces everything that the guest's definition
	// says about that, including the kind of source.
	// +optional
	Source *VolumeSource `json:"source,omitempty"`

	// driver holds settings of the target for reading and writing the data.
	// +optional
	Driver *VolumeDriver `json:"driver,omitempty"`

	// encryption says how libvirt on the target decrypts the data. Empty
	// means that it does not.
	// +optional
	Encryption *VolumeEncryption `json:"encryption,omitempty"`

	// backingStore says what becomes of a backing chain, and of a file in which an image
	// keeps its data, that the guest's definition spells out. It is needed if there is one
	// and the source changes.
	// +optional
	BackingStore *BackingStorePolicy `json:"backingStore,omitempty"`

	// credentials says what becomes of what the host shows the server of the data, as the
	// guest's definition has it: its authentication, cookies, and user and key for SSH.
	// source.network.auth takes the place of the authentication. Absent keeps them if the
	// protocol and the server, or the storage pool, stay the same. They go to no other
	// server unless this says so, and are lost with the protocol.
	// +optional
	Credentials *CredentialsPolicy `json:"credentials,omitempty"`
}

// CredentialsPolicy says what becomes of what the host shows the server of a disk's data.
//
// +kubebuilder:validation:Enum=Keep;Drop
type CredentialsPolicy string

const (
	// CredentialsKeep shows the new server what the old one is shown.
	CredentialsKeep CredentialsPolicy = "Keep"
	// CredentialsDrop shows the new server nothing that is not given.
	CredentialsDrop CredentialsPolicy = "Drop"
)

// BackingStorePolicy says what becomes of a backing chain and a data file.
//
// +kubebuilder:validation:Enum=Keep;Detect
type BackingStorePolicy string

const (
	// BackingStoreKeep keeps it: the same paths are valid on the target, or mapped by
	// pathMappings.
	BackingStoreKeep BackingStorePolicy = "Keep"
	// BackingStoreDetect removes it: libvirt on the target finds the chain.
	BackingStoreDetect BackingStorePolicy = "Detect"
)

// VolumeSource is one of the kinds of source that a disk can have.
//
// +kubebuilder:validation:ExactlyOneOf=file;block;directory;network;storagePool;nvme;vhostUser;vhostVDPA
type VolumeSource struct {
	// file is a file on the target.
	// +optional
	File *PathSource `json:"file,omitempty"`

	// block is a block device on the target.
	// +optional
	Block *PathSource `json:"block,omitempty"`

	// directory is a directory that the guest sees as a FAT file system.
	// +optional
	Directory *PathSource `json:"directory,omitempty"`

	// network is storage that QEMU on the target reaches over the network.
	// +optional
	Network *NetworkVolumeSource `json:"network,omitempty"`

	// storagePool is a volume of one of libvirt's storage pools on the target.
	// +optional
	StoragePool *StoragePoolSource `json:"storagePool,omitempty"`

	// nvme is a namespace of an NVMe controller of the target.
	// +optional
	NVMe *NVMeSource `json:"nvme,omitempty"`

	// vhostUser is the socket of a vhost-user storage daemon on the target.
	// +optional
	VhostUser *PathSource `json:"vhostUser,omitempty"`

	// vhostVDPA is a vhost-vdpa device on the target.
	// +optional
	VhostVDPA *PathSource `json:"vhostVDPA,omitempty"`
}

// PathSource is something that has a path on the target.
type PathSource struct {
	// path is the absolute path.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x1f]+$`
	Path string `json:"path"`
}

// StoragePoolMode says how a volume of an iSCSI pool is used.
//
// +kubebuilder:validation:Enum=host;direct
type StoragePoolMode string

// StoragePoolSource is a volume in a storage pool.
type StoragePoolSource struct {
	// pool is the name of the pool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool"`

	// volume is the name of the volume.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Volume string `json:"volume"`

	// mode says how a volume of an iSCSI pool is used.
	// +optional
	Mode *StoragePoolMode `json:"mode,omitempty"`
}

// NVMeSource is a namespace of an NVMe controller.
type NVMeSource struct {
	// pciAddress is the controller's address on the target host.
	// +required
	PCIAddress PCIAddress `json:"pciAddress"`

	// namespace is the number of the namespace.
	// +required
	// +kubebuilder:validation:Minimum=1
	Namespace int64 `json:"namespace"`
}

// VolumeProtocol is a network protocol for storage as libvirt names it.
//
// +kubebuilder:validation:Enum=rbd;iscsi;nbd;nfs;http;https;ftp;ftps;tftp;gluster;ssh;vxhs;sheepdog
type VolumeProtocol string

// NetworkVolumeSource is storage reached over the network.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) || self.protocol == 'nbd'",message="name is required for every protocol but nbd"
// +kubebuilder:validation:XValidation:rule="(has(self.hosts) && self.hosts.size() > 0) || self.protocol in ['rbd', 'sheepdog']",message="hosts is required for every protocol but rbd and sheepdog"
// +kubebuilder:validation:XValidation:rule="!has(self.hosts) || self.hosts.size() <= 1 || self.protocol in ['rbd', 'gluster', 'sheepdog']",message="only rbd, gluster and sheepdog take more than one host"
// +kubebuilder:validation:XValidation:rule="!has(self.snapshotName) && !has(self.configFile) || self.protocol == 'rbd'",message="snapshotName and configFile are for rbd only"
// +kubebuilder:validation:XValidation:rule="!has(self.initiatorIQN) || self.protocol == 'iscsi'",message="initiatorIQN is for iscsi only"
// +kubebuilder:validation:XValidation:rule="!has(self.user) && !has(self.group) || self.protocol == 'nfs'",message="user and group are for nfs only"
// +kubebuilder:validation:XValidation:rule="!has(self.query) || self.protocol in ['http', 'https']",message="query is for http and https only"
// +kubebuilder:validation:XValidation:rule="!has(self.tlsHostname) || (has(self.tls) && self.tls == 'Enabled')",message="tlsHostname needs tls: Enabled"
type NetworkVolumeSource struct {
	// protocol is the protocol spoken.
	// +required
	Protocol VolumeProtocol `json:"protocol"`

	// name is the name of the image, target and unit, export or path.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Name *string `json:"name,omitempty"`

	// query is what follows the question mark of an address.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Query *string `json:"query,omitempty"`

	// hosts holds the servers.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Hosts []VolumeHost `json:"hosts,omitzero"`

	// tls says whether the connection is encrypted. Absent means the target's
	// default.
	// +optional
	TLS *Toggle `json:"tls,omitempty"`

	// tlsHostname is the name to expect in the server's certificate.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	TLSHostname *string `json:"tlsHostname,omitempty"`

	// certificateCheck says whether certificates of https and ftps servers
	// are checked. Absent means that they are.
	// +optional
	CertificateCheck *Toggle `json:"certificateCheck,omitempty"`

	// auth says how to authenticate with rbd, iscsi, http, https, ftp, ftps and ssh.
	// Absent leaves it to credentials.
	// +optional
	Auth *VolumeAuth `json:"auth,omitempty"`

	// initiatorIQN is the name of the iSCSI initiator. Absent leaves it as it is if the
	// protocol was iscsi before.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=223
	InitiatorIQN *string `json:"initiatorIQN,omitempty"`

	// snapshotName is the RBD snapshot to use. Absent means the image itself.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	SnapshotName *string `json:"snapshotName,omitempty"`

	// configFile is the Ceph configuration file on the target.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=4096
	ConfigFile *string `json:"configFile,omitempty"`

	// user is the NFS user, by name or as +number. If neither user nor group is given and
	// the protocol was nfs before, both stay as they are.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	User *string `json:"user,omitempty"`

	// group is the NFS group, by name or as +number.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Group *string `json:"group,omitempty"`
}

// HostTransport is how a storage server is reached, as libvirt names it.
//
// +kubebuilder:validation:Enum=tcp;unix;rdma
type HostTransport string

// VolumeHost is a storage server.
//
// +kubebuilder:validation:XValidation:rule="has(self.transport) && self.transport == 'unix' ? has(self.socketPath) && !has(self.host) && !has(self.port) : has(self.host) && !has(self.socketPath)",message="transport: unix needs socketPath and nothing else; any other needs host"
type VolumeHost struct {
	// host is the server's name or IP address, without brackets.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._:-]+$`
	Host *string `json:"host,omitempty"`

	// port is the server's TCP port; absent means the protocol's default.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`

	// transport is how the server is reached; absent means tcp.
	// +optional
	Transport *HostTransport `json:"transport,omitempty"`

	// socketPath is the path of the server's socket on the target.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=107
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x1f]+$`
	SocketPath *string `json:"socketPath,omitempty"`
}

// VolumeAuth says how to authenticate with a storage server. The secret itself is kept in
// libvirt on the target.
//
// +kubebuilder:validation:ExactlyOneOf=secretUUID;secretUsage
type VolumeAuth struct {
	// username is the name to authenticate with.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Username string `json:"username"`

	// secretUUID finds the libvirt secret by its UUID.
	// +optional
	SecretUUID *UUID `json:"secretUUID,omitempty"`

	// secretUsage finds the libvirt secret by its usage name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	SecretUsage *string `json:"secretUsage,omitempty"`
}

// VolumeFormat is the format of a disk's data as libvirt names it.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9_-]+$`
type VolumeFormat string

// CacheMode is a disk cache mode as libvirt names it.
//
// +kubebuilder:validation:Enum=default;none;writethrough;writeback;directsync;unsafe
type CacheMode string

// IOMode is a disk I/O mode as libvirt names it.
//
// +kubebuilder:validation:Enum=threads;native;io_uring
type IOMode string

// DiscardMode says what becomes of discard requests, as libvirt names it.
//
// +kubebuilder:validation:Enum=unmap;ignore
type DiscardMode string

// VolumeDriver holds settings for reading and writing a disk's data. Absent settings stay
// as they are in the guest's definition.
//
// +kubebuilder:validation:MinProperties=1
type VolumeDriver struct {
	// format is the format of the data, such as raw or qcow2.
	// +optional
	Format *VolumeFormat `json:"format,omitempty"`

	// cache is the cache mode.
	// +optional
	Cache *CacheMode `json:"cache,omitempty"`

	// io is the I/O mode.
	// +optional
	IO *IOMode `json:"io,omitempty"`

	// discard says what becomes of discard requests.
	// +optional
	Discard *DiscardMode `json:"discard,omitempty"`
}

// VolumeEncryption says how libvirt decrypts a disk's data.
type VolumeEncryption struct {
	// secretUUID is the UUID of the libvirt secret on the target that holds
	// the passphrase. The format stays the guest's, or is LUKS where it has none.
	// +optional
	SecretUUID *UUID `json:"secretUUID,omitempty"`
}

// PathMapping maps one path, and all paths below it. Where several entries fit, the
// longest path decides.
type PathMapping struct {
	// from is the absolute path on the source host.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x1f]+$`
	From string `json:"from"`

	// to is the absolute path on the target, which the target must allow.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x1f]+$`
	To string `json:"to"`
}

// PortMapping maps one TCP or UDP port.
type PortMapping struct {
	// from is the port on the source host.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	From int32 `json:"from"`

	// to is the port on the target.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	To int32 `json:"to"`
}

// FixedPorts says what becomes of ports that are given by number.
//
// +kubebuilder:validation:Enum=Keep;Automatic
type FixedPorts string

const (
	// FixedPortsKeep keeps them: they are free on the target.
	FixedPortsKeep FixedPorts = "Keep"
	// FixedPortsAutomatic lets libvirt on the target choose others.
	FixedPortsAutomatic FixedPorts = "Automatic"
)

// NumberMapping maps the number of something of the source host to that of the target's.
type NumberMapping struct {
	// source is the number on the source host.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Source int32 `json:"source"`

	// target is the number on the target.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Target int32 `json:"target"`
}

// USBDevice is a USB device of a host: by vendor and product, such as 046d:c52b, by bus
// and device number, such as 3/7, or by bus and port, such as 3-1.4. Not every libvirt
// finds devices by port, and device numbers change whenever a device is plugged.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^([0-9a-fA-F]{4}:[0-9a-fA-F]{4}|[0-9]{1,3}/[0-9]{1,3}|[0-9]{1,3}-[0-9]{1,3}([.][0-9]{1,3}){0,6})$`
type USBDevice string

// USBDeviceMigrateData maps one USB device.
type USBDeviceMigrateData struct {
	// source is the device as the guest's definition has it. If that has both, it is
	// vendor and product.
	// +required
	Source USBDevice `json:"source"`

	// target is the device on the target host.
	// +required
	Target USBDevice `json:"target"`
}
