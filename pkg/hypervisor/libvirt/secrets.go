package libvirt

import (
	"context"
	"errors"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// secretUsages are libvirt's numbers of its kinds of use.
var secretUsages = map[string]lv.SecretUsageType{
	"volume": lv.SECRET_USAGE_TYPE_VOLUME,
	"ceph":   lv.SECRET_USAGE_TYPE_CEPH,
	"iscsi":  lv.SECRET_USAGE_TYPE_ISCSI,
}

// MissingSecrets implements hypervisor.Host. A private secret does not tell whether it has a
// value.
func (c *Client) MissingSecrets(ctx context.Context, secrets []hypervisor.SecretName) ([]hypervisor.SecretName, error) {
	const op = "looking secrets up"
	var missing []hypervisor.SecretName
	for _, s := range secrets {
		has, err := call(ctx, c, op, hostSubject, func(conn *lv.Connect) (bool, error) { return hasSecret(conn, s) })
		if err != nil {
			return nil, err
		}
		if !has {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

// hasSecret reports whether there is a secret, with a value. A daemon that serves nothing but
// QEMU's guests does not keep them itself, and counts as having all.
func hasSecret(conn *lv.Connect, name hypervisor.SecretName) (bool, error) {
	secret, err := lookupSecret(conn, name)
	if err == nil {
		defer func() { _ = secret.Free() }() // It fails only for a handle that is none.
		var value []byte
		value, err = secret.GetValue(0)
		clear(value)
	}
	switch {
	case errors.Is(err, lv.ERR_NO_SECRET):
		return false, nil
	case errors.Is(err, lv.ERR_INVALID_SECRET), errors.Is(err, lv.ERR_NO_SUPPORT):
		return true, nil
	default:
		return err == nil, err
	}
}

func lookupSecret(conn *lv.Connect, name hypervisor.SecretName) (*lv.Secret, error) {
	if name.UUID != "" {
		return conn.LookupSecretByUUIDString(name.UUID)
	}
	return conn.LookupSecretByUsage(secretUsages[name.UsageType], name.UsageName)
}
