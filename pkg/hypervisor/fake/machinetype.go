package fake

import (
	"context"
	"regexp"
)

//nolint:gochecknoglobals // A constant.
var machineAttribute = regexp.MustCompile(`<type[^>]* machine=['"]([^'"]*)['"]`)

// MachineType implements hypervisor.Host.
func (h *Host) MachineType(ctx context.Context, uuid string) (string, error) {
	return withDomain(ctx, h, &Call{Method: MethodMachineType, UUID: uuid}, func(d *domain) (string, error) {
		if m := machineAttribute.FindStringSubmatch(string(d.live)); m != nil {
			return m[1], nil
		}
		return "", nil
	})
}
