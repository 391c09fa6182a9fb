package hypervisor

// SecretName names a secret that the hypervisor keeps: by its UUID or, where that is empty,
// by what it is used for.
type SecretName struct {
	UUID string
	// UsageType and UsageName are libvirt's, such as "ceph" and "client.admin secret".
	UsageType, UsageName string
}
