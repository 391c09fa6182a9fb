package libvirt

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// CheckEmulator implements hypervisor.Receiver. It takes two requests, of which libvirt
// answers the first from its cache of what emulators can do.
func (c *Client) CheckEmulator(ctx context.Context, needs hypervisor.EmulatorNeeds) (hypervisor.EmulatorFit, error) {
	return call(ctx, c, "checking the emulator", "emulator", func(conn *lv.Connect) (hypervisor.EmulatorFit, error) {
		_, err := conn.GetDomainCapabilities(needs.Emulator, needs.Arch, needs.Machine, needs.VirtType, 0)
		if missing := missingEmulator(err); missing != "" {
			return hypervisor.EmulatorFit{Missing: missing}, nil
		}
		if err != nil || needs.CPU == "" {
			unsupported, err := saysNo(err, lv.ERR_INVALID_ARG, lv.ERR_CONFIG_UNSUPPORTED)
			return hypervisor.EmulatorFit{Unsupported: unsupported}, err
		}
		_, err = conn.CompareHypervisorCPU(needs.Emulator, needs.Arch, needs.Machine, needs.VirtType, needs.CPU, lv.CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
		problem, err := saysNo(err, lv.ERR_CPU_INCOMPATIBLE)
		return hypervisor.EmulatorFit{CPUProblem: problem}, err
	})
}

// missingEmulator returns the message of an error that says that there is no such emulator,
// for which libvirt has no code; empty if it says something else.
func missingEmulator(err error) string {
	var e lv.Error
	if !errors.As(err, &e) || !isMissingEmulator.MatchString(e.Message) {
		return ""
	}
	return sanitize(e.Message)
}

// saysNo returns the message of an error that says no, which has one of these codes. libvirt
// has none for a model of CPU that it does not know. That it does not know the question is no
// error.
func saysNo(err error, codes ...lv.ErrorNumber) (string, error) {
	var e lv.Error
	switch {
	case !errors.As(err, &e):
		return "", err
	case e.Code == lv.ERR_NO_SUPPORT:
		return "", nil
	case slices.Contains(codes, e.Code), strings.Contains(e.Message, unknownModel):
		message := e.Message
		for _, kind := range []string{"invalid argument: ", "unsupported configuration: ", "internal error: ", "the CPU is incompatible with host CPU: "} {
			message = strings.TrimPrefix(message, kind)
		}
		return sanitize(message), nil
	default:
		return "", err
	}
}

// unknownModel is what libvirt says of a CPU model that it does not know.
const unknownModel = "Unknown CPU model"

// isMissingEmulator is what it says of an emulator that is not there, or that it must not run.
var isMissingEmulator = regexp.MustCompile(`^(Cannot check QEMU binary |QEMU binary .* is not executable)`)
