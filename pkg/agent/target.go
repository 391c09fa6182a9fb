package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// targetSession is the target's side of one migration.
type targetSession struct {
	node    *Node
	hv      hypervisor.Hypervisor
	log     logr.Logger
	box     *mailbox
	out     *reporter[*v1alpha1.TargetStatus]
	lm      *v1alpha1.LiveMigration
	section *v1alpha1.TargetStatus
	// asked is when the source was last told of something new here, or asked to look
	// again, and incoming whether a half that a migration brings was heard of. Both are about
	// attempt, which is empty while there is none.
	asked    time.Time
	incoming bool
	attempt  string
	// silentSince is since when libvirt's secret driver has not answered; zero while there is
	// no sign of that.
	silentSince time.Time
	// noEmulatorSince is since when the emulator is not there; zero while it is.
	noEmulatorSince time.Time
	// hostRead is when what the section says of the host was last read; zero if it may be
	// another host since.
	hostRead time.Time
	// maybeMade is whether images may be there that were planned: another process may have
	// made them, or a call has had no answer.
	maybeMade bool
	// thawBegun is when the guest's agent was first asked to thaw it, and thawTried when last.
	thawBegun, thawTried time.Time
}

// runTarget runs a session until its migration is done or ctx ends.
func runTarget(ctx context.Context, node *Node, box *mailbox) {
	lm, _ := box.get()
	log := node.Log.WithValues("LiveMigration", klog.KObj(lm), "side", "target", "domain", lm.Status.DomainUUID)
	s := &targetSession{node: node, hv: node.Hypervisor, log: log, box: box, lm: lm}
	s.out = newReporter(node, log, func(ctx context.Context, section *v1alpha1.TargetStatus) error {
		return node.Recorder.RecordTarget(ctx, lm, section)
	})
	node.receiving.Add(1)
	defer node.receiving.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	events := s.hv.Subscribe(ctx, lm.Status.DomainUUID)
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.out.run(ctx)
	}()
	defer func() {
		s.out.close()
		<-written
		cancel()
	}()
	for s.refreshFacts() {
		wait, done := s.step(ctx)
		if done || !s.await(ctx, events, wait) {
			return
		}
	}
}

func (s *targetSession) refreshFacts() bool {
	lm, gone := s.box.get()
	s.lm = lm
	attempt := lm.Status.Attempt
	if id := migration.AttemptID(lm); id != s.attempt {
		s.attempt, s.asked, s.incoming, s.hostRead = id, time.Time{}, false, time.Time{}
	}
	if attempt != nil && (s.section == nil || s.section.AttemptID != attempt.ID) {
		s.section = migration.CurrentTarget(lm).DeepCopy()
		s.maybeMade = s.section != nil // By another process.
		if !migration.Finished(lm) {
			s.node.keepPorts(lm)
			s.node.keepParts(lm)
		}
	}
	s.node.keepClaim(lm)
	if s.section != nil {
		s.node.space.note(lm, s.section)
	}
	return !gone
}

func (s *targetSession) await(ctx context.Context, events <-chan hypervisor.Event, wait time.Duration) bool {
	var timer <-chan time.Time
	if wait > 0 {
		t := s.node.Clock.NewTimer(wait)
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.box.changed:
	case <-timer:
	case event, ok := <-events:
		started := event.Type == hypervisor.EventLifecycle && event.Lifecycle == hypervisor.LifecycleStarted
		s.incoming = s.incoming || started && event.Detail == hypervisor.DetailMigrated
		if event.Type == hypervisor.EventResync {
			s.hostRead = time.Time{} // It may have been updated.
		}
		return ok
	}
	return true
}

// step takes one act and says how long to wait for the next; done ends the
// session.
func (s *targetSession) step(ctx context.Context) (wait time.Duration, done bool) {
	facts := migration.TargetFacts{Object: s.lm, Section: s.section, Asked: s.asked, HostRead: s.hostRead}
	switch action := migration.DecideTarget(facts, s.node.Clock.Now()); action { //nolint:exhaustive // All others clean up.
	case migration.TargetDone:
		return s.thawLater(ctx)
	case migration.TargetWait:
		return 0, false
	case migration.TargetPrepare:
		return s.prepare(ctx), false
	case migration.TargetMakeImages:
		return s.makeImages(ctx), false
	case migration.TargetLook:
		return s.lookOnly(ctx), false
	case migration.TargetRenew:
		return s.renew(ctx), false
	case migration.TargetObserve:
		return s.observe(ctx, false), false
	case migration.TargetConfirm:
		return s.observe(ctx, true), false
	case migration.TargetAsk:
		s.section = s.section.DeepCopy()
		s.section.Observation++
		s.asked = s.node.Clock.Now()
		s.out.report(s.section, atOnce)
		return followInterval, false
	default:
		return s.cleanUp(ctx, action), false
	}
}

// cleanUp removes what is left here of a guest that does not come, or resumes one that has.
func (s *targetSession) cleanUp(ctx context.Context, action migration.TargetAction) time.Duration {
	switch action { //nolint:exhaustive // All others come before the end.
	case migration.TargetRemoveImages:
		return s.removeImages(ctx)
	case migration.TargetRemoveMarks:
		return s.removeMarks(ctx)
	case migration.TargetAttach:
		return s.attach(ctx)
	case migration.TargetRemoveIncoming:
		return s.settle(ctx, "Removing the incomplete copy that the migration left here; the guest runs on the source", s.hv.DestroyIncoming)
	case migration.TargetResume:
		// The hypervisor does so itself, unless the pause came too late for it to know.
		return s.settle(ctx, "Resuming the guest, which was paused for its migration", s.hv.Resume)
	case migration.TargetUndefine:
		return s.settle(ctx, "Removing the definition that the migration left here", s.hv.Undefine)
	default:
		s.log.Error(errors.New("unknown action"), "Cannot carry out an unknown action", "action", action)
		return followInterval
	}
}

// observe reports the guest as it is on this side; confirm says that this was
// read after the end on the source.
func (s *targetSession) observe(ctx context.Context, confirm bool) time.Duration {
	seen := look(ctx, s.hv, s.lm.Status.DomainUUID)
	if !seen.seen {
		return retryInterval
	}
	section := s.section.DeepCopy()
	s.takeBackRefusal(section)
	if migration.SeeTarget(section, migration.CurrentSource(s.lm), migration.Observe(seen.domain, seen.job)) {
		s.asked = s.node.Clock.Now()
	}
	arrived := migration.SideOf(section.Domain) == migration.SideLive
	migration.NoteDefinition(section, migration.CurrentSource(s.lm))
	migration.NoteIncoming(section, s.section, s.incoming, s.node.Clock.Now())
	s.incoming = false
	if migration.Brought(section) && (arrived || section.Domain.State == string(hypervisor.StateRunning)) {
		s.noteArrival(section)
	}
	s.notePostCopy(section)
	s.noteVersions(ctx, section)
	if confirm && section.ConfirmedTime == nil {
		section.ConfirmedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
	}
	if arrived && section.DowntimeMilliseconds == nil {
		section.DowntimeMilliseconds = s.measuredDowntime(ctx)
	}
	s.thaw(ctx, section)
	s.setClock(ctx, section)
	when := s.whenToTell(section)
	s.section = section
	s.out.report(section, when)
	return s.untilNextLook(section, arrived && confirm)
}

// untilNextLook is how long it takes until the guest is looked at again, unless something happens; done is whether there
// is no other reason to.
func (s *targetSession) untilNextLook(section *v1alpha1.TargetStatus, done bool) time.Duration {
	switch {
	case section.GuestThaw == nil && migration.ThawDueOnTarget(s.lm, section):
		return thawFirst
	case done:
		return 0
	default:
		return followInterval
	}
}

// whenToTell says how urgent it is to report what is new: before the end on the source,
// it can wait unless it may decide the outcome.
func (s *targetSession) whenToTell(now *v1alpha1.TargetStatus) urgency {
	source, before := migration.CurrentSource(s.lm), s.section
	switch {
	case source != nil && source.End != nil, !now.ArrivedTime.Equal(before.ArrivedTime), !now.WholeTime.Equal(before.WholeTime),
		!now.LostTime.Equal(before.LostTime):
		return atOnce
	default:
		return soon
	}
}

// lookOnly reports the guest as it is on this side, where nothing is to be moved.
func (s *targetSession) lookOnly(ctx context.Context) time.Duration {
	seen := look(ctx, s.hv, s.lm.Status.DomainUUID)
	if !seen.seen {
		return retryInterval
	}
	s.section = &v1alpha1.TargetStatus{
		AttemptID: s.lm.Status.Attempt.ID, Domain: new(migration.Observe(seen.domain, seen.job)),
		ConfirmedTime: new(metav1.NewMicroTime(s.node.Clock.Now())),
	}
	s.out.report(s.section, atOnce)
	return 0
}

// noteArrival remembers when the guest was first seen here, be it whole or in
// post-copy.
func (s *targetSession) noteArrival(section *v1alpha1.TargetStatus) {
	if section.ArrivedTime == nil {
		section.ArrivedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
	}
}

// notePostCopy remembers what became of a guest after the source has switched to
// post-copy, which the source's agent has said before this was read: that all of it
// has arrived, or that it is not here.
func (s *targetSession) notePostCopy(section *v1alpha1.TargetStatus) {
	source := migration.CurrentSource(s.lm)
	if !migration.InPostCopy(source) || section.WholeTime != nil || section.LostTime != nil {
		return
	}
	if migration.ShowsWhole(section.Domain) {
		section.WholeTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		return
	}
	switch migration.SideOf(section.Domain) { //nolint:exhaustive // All others are here.
	case migration.SideGone, migration.SideStopped, migration.SideMigrated:
		if source.End == nil {
			section.LostTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		}
	}
}

// noteVersions tells what runs on the host now, for as long as post-copy is interrupted:
// whether it can be resumed may depend on that, and libvirt can be updated while the guest
// waits.
func (s *targetSession) noteVersions(ctx context.Context, section *v1alpha1.TargetStatus) {
	if !migration.Interrupted(migration.CurrentSource(s.lm)) || section.Host == nil {
		return
	}
	if host, err := s.hv.HostInfo(ctx); err == nil {
		section.Host.LibvirtVersion, section.Host.HypervisorVersion = host.LibvirtVersion, host.HypervisorVersion
	}
}

// measuredDowntime reads the guest's pause from the statistics that this side
// keeps of a migration that has ended; it is nil until there are any.
func (s *targetSession) measuredDowntime(ctx context.Context) *int64 {
	stats, err := s.hv.CompletedJobStats(ctx, s.lm.Status.DomainUUID)
	if err != nil || stats.Type != hypervisor.JobCompleted || !stats.DowntimeKnown {
		return nil
	}
	return new(stats.Downtime.Milliseconds())
}

// settle does what is left to do here after the end on the source, and reports what
// came of it.
func (s *targetSession) settle(ctx context.Context, what string, do func(ctx context.Context, uuid string) error) time.Duration {
	s.log.Info(what)
	if err := do(ctx, s.lm.Status.DomainUUID); err != nil {
		s.log.Error(err, "The cleanup failed; trying again", "after", followInterval)
	}
	s.observe(ctx, true)
	return followInterval
}

// prepare checks the host and offers its facts.
func (s *targetSession) prepare(ctx context.Context) time.Duration {
	switch known, err := s.adopt(ctx); {
	case err != nil:
		s.log.Error(err, "Reading the object again failed; trying again", "after", retryInterval)
		return retryInterval
	case known:
		return followFirst
	}
	section := &v1alpha1.TargetStatus{AttemptID: s.lm.Status.Attempt.ID}
	host, err := s.hv.HostInfo(ctx)
	if err != nil {
		s.log.Error(err, "Reading the host failed; trying again", "after", retryInterval)
		return retryInterval
	}
	settings, err := s.node.settings(ctx)
	if err != nil {
		s.log.Error(err, "Reading the spec of the node's Hypervisor failed; trying again", "after", retryInterval)
		return retryInterval
	}
	offer := &v1alpha1.TargetOffer{NetworkMappings: migration.FillNetworks(s.lm, &settings), DroppedPerfEvents: s.droppedPerfEvents()}
	domain, err := s.receive(ctx, host, offer)
	images, imagesErr := s.planImages(ctx)
	files, filesErr := s.lookAtDiskFiles(ctx)
	err = allOf([]error{err, imagesErr, filesErr})
	var r *refusal
	switch {
	case errors.As(err, &r):
		s.log.Info("Refusing the guest", "reason", r.Reason)
		section.Problem = r.problem()
		s.tell(ctx, section, host, offer) // The source may have more against it.
	case err != nil:
		s.log.Error(err, "Querying the hypervisor failed; trying again", "after", retryInterval)
		return retryInterval
	case migration.Refused(s.lm) && !migration.DryRun(s.lm):
		section.CheckedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		s.tell(ctx, section, host, offer)
	default:
		section.Images, section.DiskFiles = images, files
		if !migration.MakesImages(s.lm, section) {
			section.ReadyTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		}
		s.tell(ctx, section, host, offer)
		migration.SeeTarget(section, nil, migration.Observe(domain, hypervisor.JobStats{}))
		section.DefinedBefore = new(section.Domain.Defined)
	}
	section = s.withinRoom(section)
	s.section = section
	s.out.report(section, atOnce)
	if section.Problem == nil && migration.MakesImages(s.lm, section) {
		return s.makeImages(ctx)
	}
	return 0
}

// tell says what the source has to know of the host. An offer that could not be completed is
// none.
func (s *targetSession) tell(ctx context.Context, section *v1alpha1.TargetStatus, host hypervisor.HostInfo, offer *v1alpha1.TargetOffer) {
	section.Endpoint, section.Host = new(s.node.Receive.Endpoint), s.hostFacts(ctx, host)
	s.hostRead = s.node.Clock.Now()
	if offer.Graphics != nil {
		section.Offer = offer
	}
}

// hostFacts are what pins and bindings are checked against. What cannot be read is
// left out: then the hypervisor has the last word.
func (s *targetSession) hostFacts(ctx context.Context, host hypervisor.HostInfo) *v1alpha1.TargetHost {
	out := &v1alpha1.TargetHost{
		CgroupVersion:  int32(s.node.Receive.CgroupVersion), //nolint:gosec // 1 or 2.
		LibvirtVersion: host.LibvirtVersion, HypervisorVersion: host.HypervisorVersion, MigrationLinkMbps: s.node.Receive.LinkMbps,
		MigrationTLS: receivingTLS(s.node.credentials(ctx), dataAddress(&s.node.Receive.Endpoint), s.node.Receive.Endpoint.DisksAddress),
	}
	if host.Capabilities == "" {
		return out
	}
	facts, err := xmlrewrite.ReadTargetFacts(host.Capabilities)
	if err != nil {
		s.log.Error(err, "The host's capabilities cannot be read; CPUs and NUMA nodes are not checked")
		return out
	}
	out.OnlineCPUs, out.NUMANodes = cpuSetOf(facts.OnlineCPUs), cpuSetOf(facts.NUMANodes)
	return out
}

// receive checks that the host can take the guest, and completes what it is offered. The
// domain it returns is a definition left from earlier, or nil.
func (s *targetSession) receive(ctx context.Context, host hypervisor.HostInfo, offer *v1alpha1.TargetOffer) (*hypervisor.Domain, error) {
	guest, node := migration.CurrentSource(s.lm).Guest, s.node.Name
	problems := []error{s.node.Receive.checkPaths(node, s.lm.Spec.MigrateData), s.checkLinks(ctx)}
	if host.UUID == guest.HostUUID {
		problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerHostUUIDNotUnique,
			"libvirt on %s and on %s has the same host UUID %s, and would refuse the migration. Ask an administrator to set a unique host_uuid in libvirtd.conf on each host, and then create another LiveMigration",
			s.lm.Status.SourceNode, node, host.UUID))
	}
	defer s.node.ports.survey()()
	defer s.node.parts.survey()()
	guests, err := s.node.guests(ctx, s.lm.Status.DomainUUID)
	if err != nil {
		return nil, fmt.Errorf("listing the guests: %w", err)
	}
	var known *hypervisor.Domain
	for _, d := range guests.domains {
		switch {
		case d.UUID == s.lm.Status.DomainUUID && d.Active():
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerGuestActiveOnTarget,
				"A guest with the UUID %s is active on %s already (%s/%s). Ask an administrator to find out from the guest's console which copy is right, and to destroy the other with `virsh destroy`",
				d.UUID, node, d.State, d.Reason))
		case d.UUID == s.lm.Status.DomainUUID:
			known = &d
		case d.Name == guest.Name:
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerNameTaken,
				"Another guest named %q, with the UUID %s, is defined on %s. Ask an administrator to rename or undefine it, and then create another LiveMigration", d.Name, d.UUID, node))
		}
	}
	problems = append(problems, s.checkEmulator(ctx, host, guest.Emulator), s.checkPostCopy(ctx, host), s.checkFirmware(ctx, guest.Firmware),
		s.checkResources(ctx, guest.Resources, offer.NetworkMappings), s.checkStorageMappings(ctx, guest.StorageMappings),
		s.checkBlockDevices(guest.BlockDevices),
		s.giveParts(ctx, int(guest.SerialPorts), guests, offer))
	return known, s.prepareSecrets(ctx, guest.Secrets, problems)
}

// giveParts completes an offer by what no other guest of the host has. Where it fails, there is
// none.
func (s *targetSession) giveParts(ctx context.Context, serialPorts int, guests listing, offer *v1alpha1.TargetOffer) (err error) {
	defer func() {
		if err != nil {
			*offer = v1alpha1.TargetOffer{}
		}
	}()
	var uses []xmlrewrite.HostUse
	var unknown []string
	if serialPorts > 0 || s.fillsParts() {
		var err error
		if uses, unknown, err = s.survey(ctx, guests); err != nil {
			return err
		}
	}
	ports, err := s.reservePorts(ctx, serialPorts, uses)
	s.node.Receive.offerConsoles(offer, ports)
	if len(unknown) > 0 && s.fillsParts() {
		// A port that is taken after all makes the migration fail before anything has happened to
		// its guest. CPUs, libvirt gives to any number of guests.
		return allOf([]error{err, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerHostUseUnknown,
			"libvirt on %s does not answer for these guests, so that nobody knows which CPUs and devices they have there: %s. Ask an administrator to find out what blocks them, for example storage that does not respond, or choose another target, and then create another LiveMigration",
			s.node.Name, strings.Join(unknown, ", "))})
	}
	return allOf([]error{err, s.fill(ctx, uses, offer)})
}

// reservePorts picks TCP ports that neither a guest nor anything else on this host has.
func (s *targetSession) reservePorts(ctx context.Context, n int, uses []xmlrewrite.HostUse) ([]int32, error) {
	if n == 0 {
		return nil, nil
	}
	used := map[int32]bool{}
	if data := s.lm.Spec.MigrateData; data != nil {
		for _, m := range data.PortMappings {
			used[m.To] = true
		}
	}
	for _, use := range uses {
		for _, port := range use.Ports {
			used[port] = true
		}
	}
	var console netip.Addr
	if s.node.Listens != nil {
		console = consoleAddress(ctx, s.lm, s.node.Receive)
	}
	ports, err := s.node.ports.promiseFree(s.lm.UID, n, s.node.Receive.SerialPorts, used, func(ports []int32) []int32 {
		return s.node.listening(ctx, console, ports)
	})
	if err != nil {
		return nil, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPortsExhausted, "On %s, %s. Ask an administrator to extend the agent's --serial-ports, and then create another LiveMigration", s.node.Name, err)
	}
	return ports, nil
}
