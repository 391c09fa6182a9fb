package fake

import (
	"context"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// CheckEmulator implements hypervisor.Receiver.
func (h *Host) CheckEmulator(ctx context.Context, needs hypervisor.EmulatorNeeds) (hypervisor.EmulatorFit, error) {
	return invoke(ctx, h, &Call{Method: MethodCheckEmulator}, func() (hypervisor.EmulatorFit, error) {
		fit := h.fit
		if needs.CPU == "" {
			fit.CPUProblem = ""
		}
		return fit, nil
	})
}

// SetEmulatorFit sets what the host says of each guest that is to come.
func (h *Host) SetEmulatorFit(fit hypervisor.EmulatorFit) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.fit = fit
}
