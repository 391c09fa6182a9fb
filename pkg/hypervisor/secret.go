package hypervisor

// SecretName names a secret that the hypervisor keeps: by its UUID or, where that is empty,
// by what it is used for.
type SecretName struct {
	UUID string
	// UsageType and UsageName are libvirt's, such as "ceph" and "client.admin secret".
	UsageType, UsageName string
}

// SecretLoan is a secret that the hypervisor is given for some time.
type SecretLoan struct {
	Name SecretName
	// Borrower is for whom; the hypervisor has the secret until nobody borrows it any more.
	Borrower string
	Value    SecretValue
}

// SecretValue is the value of a secret. It prints as a placeholder wherever it is formatted or
// logged by mistake.
type SecretValue []byte

// String hides the value.
func (SecretValue) String() string { return "********" }

// GoString hides the value.
func (SecretValue) GoString() string { return "********" }
