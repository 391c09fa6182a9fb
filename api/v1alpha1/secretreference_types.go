package v1alpha1

import (
	"strconv"
	"strings"
)

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

// String returns what the reference names, for messages and to compare it with another.
func (r SecretReference) String() string {
	switch {
	case r.UUID != nil:
		return strings.ToLower(string(*r.UUID))
	case r.Usage != nil:
		return string(r.Usage.Type) + " " + strconv.Quote(r.Usage.Name)
	default:
		return "no secret"
	}
}

// Same reports whether two references name a secret in the same way. One by UUID and one by
// usage may be about one secret all the same, which only libvirt knows.
func (r SecretReference) Same(other SecretReference) bool { return r.String() == other.String() }

// SecretMigrateData says where the value of a libvirt secret comes from.
//
// +kubebuilder:validation:ExactlyOneOf=uuid;usage
type SecretMigrateData struct {
	// uuid is the UUID by which the guest's definition refers to the secret.
	// +optional
	UUID *UUID `json:"uuid,omitempty"`

	// usage is the use by which the guest's definition refers to the secret.
	// +optional
	Usage *SecretUsage `json:"usage,omitempty"`

	// secretKeyRef is where the value is. The bytes there are what libvirt gets: the
	// passphrase of a disk or a TPM, or the key of a Ceph user, decoded. The agent of the
	// target needs the right to get that Secret, and so does whoever creates the
	// LiveMigration.
	// +required
	SecretKeyRef SecretKeyReference `json:"secretKeyRef,omitzero"`
}

// Reference returns which libvirt secret the entry is about.
func (s SecretMigrateData) Reference() SecretReference {
	return SecretReference{UUID: s.UUID, Usage: s.Usage}
}

// SecretKeyReference names a key of a Secret in the LiveMigration's namespace.
type SecretKeyReference struct {
	// name is the Secret's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="name must be the name of a Secret"
	Name string `json:"name,omitempty"`

	// key is the key of the Secret's data whose value is used.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}
