package hypervisor

import (
	"fmt"
	"log/slog"
)

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

// SecretValue is the value of a secret. It prints as a placeholder wherever it is formatted,
// logged or marshalled by mistake.
type SecretValue []byte

// hiddenValue stands for a value.
const hiddenValue = "********"

// Format implements fmt.Formatter, for all verbs.
func (SecretValue) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hiddenValue)) }

// LogValue implements slog.LogValuer.
func (SecretValue) LogValue() slog.Value { return slog.StringValue(hiddenValue) }

// MarshalText implements encoding.TextMarshaler, for JSON as well.
func (SecretValue) MarshalText() ([]byte, error) { return []byte(hiddenValue), nil }
