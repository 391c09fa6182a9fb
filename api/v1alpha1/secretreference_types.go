package v1alpha1

import "strconv"

// SecretReference names a secret that a host's libvirt keeps, by its UUID or by what it is
// used for. It holds nothing secret.
//
// +kubebuilder:validation:ExactlyOneOf=uuid;usage
type SecretReference struct {
	// uuid is the secret's UUID.
	// +optional
	UUID *UUID `json:"uuid,omitempty"`
	// usage is what the secret is used for, as the secret itself says.
	// +optional
	Usage *SecretUsage `json:"usage,omitempty"`
}

// SecretUsage is what a libvirt secret is used for.
type SecretUsage struct {
	// type is the kind of use.
	// +required
	Type SecretUsageType `json:"type,omitempty"`
	// name tells the secrets of a kind apart: the name of a Ceph secret, the target of an
	// iSCSI secret, the path of a volume.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name,omitempty"`
}

// SecretUsageType is a kind of use of a secret, as libvirt names it.
//
// +kubebuilder:validation:Enum=volume;ceph;iscsi
type SecretUsageType string

// The kinds of use of a secret to which a guest's definition refers by name.
const (
	SecretUsageVolume SecretUsageType = "volume"
	SecretUsageCeph   SecretUsageType = "ceph"
	SecretUsageISCSI  SecretUsageType = "iscsi"
)

// String returns what the reference names, for messages.
func (r SecretReference) String() string {
	switch {
	case r.UUID != nil:
		return string(*r.UUID)
	case r.Usage != nil:
		return string(r.Usage.Type) + " " + strconv.Quote(r.Usage.Name)
	default:
		return "no secret"
	}
}
