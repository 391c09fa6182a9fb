package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

const (
	// detachPatience is how long a guest may take to let go of its interfaces, and
	// detachInterval how long until it is asked again. It leaves room within the time that a
	// start may take.
	detachPatience = 20 * time.Second
	detachInterval = 5 * time.Second
)

// hostInterfacesOf returns the interfaces that are to be taken from the guest. Its definition
// must have them: that is where they are taken from when it gets them back.
func (s *sourceSession) hostInterfacesOf(definitions []hypervisor.DomainXML) ([]v1alpha1.MACAddress, error) {
	if !migration.DetachesInterfaces(s.lm) {
		return nil, nil
	}
	live, err := xmlrewrite.HostInterfaces([]byte(definitions[0]))
	if err != nil {
		return nil, s.unreadable(err)
	}
	var kept []string
	if len(definitions) > 1 {
		if kept, err = xmlrewrite.HostInterfaces([]byte(definitions[1])); err != nil {
			return nil, s.unreadable(err)
		}
	}
	out := make([]v1alpha1.MACAddress, 0, len(live))
	var lost []string
	for _, mac := range live {
		out = append(out, v1alpha1.MACAddress(mac))
		if !slices.Contains(kept, mac) {
			lost = append(lost, mac)
		}
	}
	switch {
	case len(lost) > 0:
		return nil, refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerHostInterfaceOnlyLive,
			"The persistent definition of the guest %s on %s does not have these interfaces, which the guest could not be given back: %s. Ask an administrator to add them with `virsh attach-device --config`, or to detach them, and then create another LiveMigration",
			s.lm.Spec.Domain, s.node.Name, strings.Join(lost, ", "))
	case len(out) == 0:
		return nil, nil
	default:
		return out, nil
	}
}

// withoutTaken returns the definitions as they are once the guest's interfaces are taken from
// it. What is only in the persistent one stays.
func (s *sourceSession) withoutTaken(definitions []hypervisor.DomainXML) ([]hypervisor.DomainXML, error) {
	if s.section.Guest == nil || len(s.section.Guest.HostInterfaces) == 0 {
		return definitions, nil
	}
	var macs []string
	for _, mac := range s.section.Guest.HostInterfaces {
		macs = append(macs, string(mac))
	}
	live, err := xmlrewrite.WithoutHostInterfaces([]byte(definitions[0]), macs)
	if err != nil {
		return nil, s.unreadable(err)
	}
	return append([]hypervisor.DomainXML{hypervisor.DomainXML(live)}, definitions[1:]...), nil
}

// detach takes interfaces from the guest, once it is certain that it can be moved without them,
// and that this is recorded: whoever comes next must know what the guest has to get back.
func (s *sourceSession) detach(ctx context.Context) time.Duration {
	if _, err := s.params(ctx); err != nil {
		return s.refuseOrRetry(s.section.DeepCopy(), err)
	}
	if len(s.section.HostInterfaces) == 0 {
		section := s.section.DeepCopy()
		for _, mac := range section.Guest.HostInterfaces {
			section.HostInterfaces = append(section.HostInterfaces, v1alpha1.HostInterface{MACAddress: mac, State: v1alpha1.HostInterfaceDetaching})
		}
		if done, wait := s.recordFirst(ctx, section, "that interfaces are taken from the guest"); !done {
			return wait
		}
		s.section = section
	}
	if s.detaching.IsZero() {
		s.detaching = s.node.Clock.Now()
	}
	section := s.section.DeepCopy()
	kept, err := s.askForInterfaces(ctx, section)
	if err != nil {
		return s.refuseOrRetry(section, err)
	}
	if len(kept) > 0 && s.node.Clock.Since(s.detaching) >= detachPatience {
		return s.refuseOrRetry(section, refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerHostInterfaceKept,
			"The guest %s does not let go of these interfaces: %s. It may still do so later: then ask an administrator to give them back with `virsh attach-device --live`. Check that the guest supports hot-unplugging them, or shut it down to move it, and then create another LiveMigration",
			s.lm.Spec.Domain, strings.Join(kept, ", ")))
	}
	s.section = section
	s.report(atOnce)
	if len(kept) > 0 {
		return followInterval
	}
	return noWait
}

// askForInterfaces asks the guest for its interfaces, and notes which it does not have any more;
// kept are the others.
func (s *sourceSession) askForInterfaces(ctx context.Context, section *v1alpha1.SourceStatus) (kept []string, err error) {
	live, err := s.hv.DomainXML(ctx, s.lm.Status.DomainUUID, hypervisor.XMLMigratable)
	if err != nil {
		return nil, fmt.Errorf("reading the definition: %w", err)
	}
	for i := range section.HostInterfaces {
		still, err := s.detachOne(ctx, &section.HostInterfaces[i], live)
		if err != nil {
			return nil, err
		}
		if still {
			kept = append(kept, string(section.HostInterfaces[i].MACAddress))
		}
	}
	if s.node.Clock.Since(s.detachAsked) >= detachInterval {
		s.detachAsked = s.node.Clock.Now()
	}
	return kept, nil
}

// detachOne asks for an interface, unless the guest does not have it any more; still is whether
// it has.
func (s *sourceSession) detachOne(ctx context.Context, i *v1alpha1.HostInterface, live hypervisor.DomainXML) (still bool, err error) {
	element, found, err := xmlrewrite.HostInterface([]byte(live), string(i.MACAddress))
	switch {
	case err != nil:
		return true, s.unreadable(err)
	case !found:
		i.State = v1alpha1.HostInterfaceDetached
		return false, nil
	}
	i.State = v1alpha1.HostInterfaceDetaching
	if s.node.Clock.Since(s.detachAsked) >= detachInterval {
		s.log.Info("Taking an interface from the guest", "macAddress", i.MACAddress)
		if err := s.hv.DetachDevice(ctx, s.lm.Status.DomainUUID, hypervisor.DomainXML(element)); err != nil {
			s.log.Error(err, "Taking the interface failed; trying again", "after", detachInterval)
			i.Error = messageOf(err)
		}
	}
	return true, nil
}

// recordFirst writes a section if nothing has changed; done says whether that is so, or how
// long to wait.
func (s *sourceSession) recordFirst(ctx context.Context, section *v1alpha1.SourceStatus, what string) (done bool, wait time.Duration) {
	if !s.out.flush(ctx, recordPatience) {
		// An older report is on its way, and would take the record away again.
		return false, retryInterval
	}
	switch err := s.recordIntent(ctx, section); {
	case errors.Is(err, ErrGone):
		return false, 0
	case errors.Is(err, ErrConflict):
		return false, s.reread(ctx)
	case err != nil:
		s.log.Error(err, "Recording "+what+" failed; checking whether it was recorded after all", "after", retryInterval)
		s.reread(ctx)
		return false, retryInterval
	}
	return true, 0
}

// attach gives the guest back what was taken from it: it stays here. What it was asked for and
// has not let go of, it may still let go of for a while, since nobody can take that back.
func (s *sourceSession) attach(ctx context.Context) time.Duration {
	if s.givingBack.IsZero() {
		s.givingBack = s.node.Clock.Now()
	}
	section := s.section.DeepCopy()
	mayLetGo := s.node.Clock.Since(s.givingBack) < detachPatience
	section.HostInterfaces = giveBack(ctx, s.hv, s.log, s.lm.Status.DomainUUID, section.HostInterfaces, mayLetGo)
	s.section = section
	s.report(atOnce)
	return followInterval
}

// attach gives the guest what was taken from it on the source.
func (s *targetSession) attach(ctx context.Context) time.Duration {
	section := s.section.DeepCopy()
	for _, mac := range migration.InterfacesDue(migration.CurrentSource(s.lm), section) {
		if !slices.ContainsFunc(section.HostInterfaces, func(i v1alpha1.HostInterface) bool { return i.MACAddress == mac }) {
			section.HostInterfaces = append(section.HostInterfaces, v1alpha1.HostInterface{MACAddress: mac, State: v1alpha1.HostInterfaceDetached})
		}
	}
	section.HostInterfaces = giveBack(ctx, s.hv, s.log, s.lm.Status.DomainUUID, section.HostInterfaces, false)
	s.section = section
	s.out.report(section, atOnce)
	return followInterval
}

// giveBack attaches the interfaces that a guest lacks, as its definition on the host has them,
// and returns what came of that. What it has already, from an earlier try, stays; if it may still
// let go of what it was asked for, that is not settled.
func giveBack(ctx context.Context, hv hypervisor.Hypervisor, log logr.Logger, uuid string, interfaces []v1alpha1.HostInterface, mayLetGo bool) []v1alpha1.HostInterface {
	out := slices.Clone(interfaces)
	live, liveErr := hv.DomainXML(ctx, uuid, hypervisor.XMLMigratable)
	kept, keptErr := hv.DomainXML(ctx, uuid, hypervisor.XMLInactive)
	for i := range out {
		if out[i].State == v1alpha1.HostInterfaceAttached {
			continue
		}
		has, err := false, errors.Join(liveErr, keptErr)
		if err == nil {
			has, err = giveBackOne(ctx, hv, log, uuid, string(out[i].MACAddress), live, kept)
		}
		if has && mayLetGo && out[i].State == v1alpha1.HostInterfaceDetaching {
			continue
		}
		if err != nil {
			log.Error(err, "Giving an interface back failed; trying again", "macAddress", out[i].MACAddress, "after", followInterval)
			out[i].Error = migration.Shorten(messageOf(err), migration.MaxMessage)
			continue
		}
		out[i].State, out[i].Error = v1alpha1.HostInterfaceAttached, ""
	}
	return out
}

var errNoInterface = errors.New("the guest's definition does not have the interface any more")

// giveBackOne attaches an interface; has is whether the guest had it already.
func giveBackOne(ctx context.Context, hv hypervisor.Hypervisor, log logr.Logger, uuid, mac string, live, kept hypervisor.DomainXML) (has bool, err error) {
	element, lacked, known, err := xmlrewrite.LackedInterface([]byte(live), []byte(kept), mac)
	switch {
	case err != nil, !lacked:
		return err == nil, err //nolint:wrapcheck // The caller says what it is about.
	case !known:
		return false, errNoInterface
	}
	log.Info("Giving the guest an interface back", "macAddress", mac)
	return false, hv.AttachDevice(ctx, uuid, hypervisor.DomainXML(element)) //nolint:wrapcheck // The same.
}
