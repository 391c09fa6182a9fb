package v1alpha1

// TransferOptions say how a guest's memory, and its disks where they are copied, are sent.
//
// +kubebuilder:validation:XValidation:rule="!has(self.compression) || (self.compression.method == 'XBZRLE') != has(self.parallelConnections)",message="compression by Zlib and Zstd needs parallelConnections, and XBZRLE excludes them"
// +kubebuilder:validation:XValidation:rule="!has(self.zeroCopy) || !self.zeroCopy || (has(self.parallelConnections) && !has(self.compression) && has(self.encryption) && self.encryption == 'Disabled')",message="zeroCopy needs parallelConnections and encryption: Disabled, and excludes compression"
// +kubebuilder:validation:XValidation:rule="!has(self.tlsDestination) || !has(self.encryption) || self.encryption != 'Disabled'",message="tlsDestination is about encryption, which is Disabled"
type TransferOptions struct {
	// encryption is whether QEMU encrypts what it sends to the target's QEMU, by TLS and the
	// certificates of the two hosts. Absent means Auto.
	// +optional
	Encryption Encryption `json:"encryption,omitempty"`
	// tlsDestination is the name that the certificate of the target's QEMU must have. Absent
	// means the target's address or, where its certificate is not for that, the name that its
	// agent reports.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="isIP(self) || !format.dns1123Subdomain().validate(self).hasValue()",message="tlsDestination must be an IP address or a DNS name in lower case"
	TLSDestination string `json:"tlsDestination,omitempty"`
	// parallelConnections is how many connections the memory is sent over. More of them fill a
	// fast link, or take the load of encryption to several CPUs; they make the downtime of an
	// idle guest longer, and exclude allowPostCopy. Absent means one for each 10 Gbit/s of the
	// slower of the two nodes' links, as far as their agents know them, but no more than half
	// of the target's CPUs, nor than 8. Where that is less than two, and with allowPostCopy
	// or compression, it means the one that carries everything else.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	ParallelConnections *int32 `json:"parallelConnections,omitempty"`
	// compression has the memory be compressed on its way. Absent means that it is not.
	// +optional
	Compression *CompressionOptions `json:"compression,omitempty"`
	// zeroCopy has the kernel send the guest's memory from where it is. libvirt has to be
	// allowed to lock all of it.
	// +optional
	ZeroCopy *bool `json:"zeroCopy,omitempty"`
	// switchoverBandwidthMiBps is how many MiB per second can be sent while the guest stands
	// still for its switch-over. options.bandwidthMiBps does not limit that, so that a guest whose
	// copy is limited fits into its maxDowntimeMilliseconds earlier than the copy's speed
	// suggests. If it is more than the link carries, the guest stands still for longer than is
	// allowed. Absent means as fast as the copy goes. Needs libvirt 11.1 and QEMU 8.2 on the
	// source.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8796093022207
	SwitchoverBandwidthMiBps *int64 `json:"switchoverBandwidthMiBps,omitempty"`
}

// Encryption is whether QEMU encrypts what it sends.
//
// +kubebuilder:validation:Enum=Auto;Required;Disabled
type Encryption string

// Whether QEMU encrypts.
const (
	// EncryptionAuto: where both hosts have certificates that fit each other.
	EncryptionAuto Encryption = "Auto"
	// EncryptionRequired: always. A migration that cannot be encrypted is refused.
	EncryptionRequired Encryption = "Required"
	// EncryptionDisabled: never.
	EncryptionDisabled Encryption = "Disabled"
)

// CompressionOptions say how memory is compressed.
//
// +kubebuilder:validation:XValidation:rule="!has(self.level) || self.method != 'XBZRLE'",message="XBZRLE has no level"
// +kubebuilder:validation:XValidation:rule="!has(self.level) || self.method != 'Zlib' || self.level <= 9",message="the level of Zlib is between 1 and 9"
type CompressionOptions struct {
	// method is the kind of compression.
	// +required
	Method CompressionMethod `json:"method,omitempty"`
	// level is how hard it tries: from 1, fastest, to 9 for Zlib and 20 for Zstd. Absent means
	// the hypervisor's default, 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20
	Level *int32 `json:"level,omitempty"`
}

// CompressionMethod is a kind of compression.
//
// +kubebuilder:validation:Enum=XBZRLE;Zlib;Zstd
type CompressionMethod string

// The kinds of compression.
const (
	// CompressionXBZRLE sends what has changed in pages that were sent before.
	CompressionXBZRLE CompressionMethod = "XBZRLE"
	// CompressionZlib and CompressionZstd compress what each of several connections sends.
	CompressionZlib CompressionMethod = "Zlib"
	CompressionZstd CompressionMethod = "Zstd"
)

// TransferPlan is how a guest is sent.
type TransferPlan struct {
	// encrypted is whether QEMU encrypts what it sends. libvirt does not start a migration
	// that is to be encrypted and cannot be.
	// +required
	Encrypted bool `json:"encrypted"`
	// unencryptedReason is why it does not.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	UnencryptedReason string `json:"unencryptedReason,omitempty"`
	// tlsDestination is the name that the certificate of the target's QEMU must have; absent
	// if it is its address.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TLSDestination string `json:"tlsDestination,omitempty"`
	// parallelConnections is how many connections the memory is sent over; absent if it is
	// the one that carries everything else.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	ParallelConnections int32 `json:"parallelConnections,omitempty"`
	// compression is how the memory is compressed; absent if it is not.
	// +optional
	Compression CompressionMethod `json:"compression,omitempty"`
	// zeroCopy is whether the kernel sends the memory from where it is.
	// +optional
	ZeroCopy bool `json:"zeroCopy,omitempty"`
	// switchoverBandwidthMiBps is how many MiB per second the hypervisor reckons with for the
	// switch-over; absent if it is as many as are copied.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8796093022207
	SwitchoverBandwidthMiBps int64 `json:"switchoverBandwidthMiBps,omitempty"`
}

// MigrationTLS is whether the QEMU of a host can encrypt migrations, as far as its
// certificates say.
type MigrationTLS struct {
	// ready is whether it can.
	// +required
	Ready bool `json:"ready"`
	// problem says why not.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Problem string `json:"problem,omitempty"`
	// serverName is a name in the host's certificate; absent if the certificate is for the
	// address of its endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="isIP(self) || !format.dns1123Subdomain().validate(self).hasValue()",message="serverName must be an IP address or a DNS name in lower case"
	ServerName string `json:"serverName,omitempty"`
	// authorities are the certificate authorities that the host trusts, each as the SHA-256
	// of its certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:items:MaxLength=64
	Authorities []string `json:"authorities,omitempty"`
}
