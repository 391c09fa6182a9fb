package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// check looks whether the guest can be sent, and reports what the target has to
// know of it.
func (s *sourceSession) check(ctx context.Context) time.Duration {
	section := &v1alpha1.SourceStatus{AttemptID: s.lm.Status.Attempt.ID}
	facts, markers, err := s.guestFacts(ctx)
	told := &v1alpha1.SourceStatus{AttemptID: section.AttemptID, Guest: facts, Storage: &v1alpha1.SourceStorage{Markers: markers}}
	if larger := s.tooLarge(told, SourceRoom); larger != nil {
		facts, err = nil, allOf([]error{err, larger}) // Nothing is told of it.
	}
	if facts != nil {
		section.Storage, err = s.mark(ctx, facts, markers, err)
		section.Guest = facts // If it is refused, too, so that all is told that the target has against it.
		section.GuestPaused = s.pausedBefore
	}
	if err == nil {
		err = s.prepareFreeze(ctx, section)
	}
	if err != nil {
		return s.refuseOrRetry(section, err)
	}
	s.section = section
	s.report(atOnce)
	return 0
}

// refuseOrRetry reports a refusal; any other error is one of the hypervisor's,
// and worth another try until the manager's patience ends.
func (s *sourceSession) refuseOrRetry(section *v1alpha1.SourceStatus, err error) time.Duration {
	var r *refusal
	if !errors.As(err, &r) {
		s.log.Error(err, "Querying the hypervisor failed; trying again", "after", retryInterval)
		return retryInterval
	}
	s.log.Info("Refusing the migration", "reason", r.Reason)
	section.Problem = r.problem()
	s.section = section
	s.report(atOnce)
	return 0
}

// guestFacts returns what the target has to know, which markers it will look for, and a
// refusal. There are facts as well if that is for what can be put right without the guest
// being another one.
func (s *sourceSession) guestFacts(ctx context.Context) (*v1alpha1.GuestFacts, []string, error) {
	node, uuid := s.node.Name, s.lm.Status.DomainUUID
	seen := look(ctx, s.hv, uuid)
	observed := migration.Observe(seen.domain, seen.job)
	switch side := migration.SideOf(&observed); {
	case !seen.seen:
		return nil, nil, errors.New("reading the guest failed")
	case seen.domain == nil, !seen.domain.Active():
		return nil, nil, refuse(v1alpha1.ReasonDomainNotOnSource, v1alpha1.BlockerDomainNotOnSource,
			"The guest %s no longer runs on %s. Create another LiveMigration, without sourceNode, to move it from where it runs now", s.lm.Spec.Domain, node)
	case side != migration.SideLive:
		return nil, nil, refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerJobRunning,
			"The guest %s is already being migrated on %s (%s/%s), by something else. Wait until that has ended, and then create another LiveMigration", s.lm.Spec.Domain, node, observed.State, observed.Reason)
	}
	s.pausedBefore = seen.domain.State == hypervisor.StatePaused
	var problems []error
	if seen.job.Active() {
		problems = append(problems, s.jobRunning(seen.job))
	}
	problems = append(problems, s.checkTies(ctx))
	host, err := s.hv.HostInfo(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the host: %w", err)
	}
	definitions, err := s.definitions(ctx, seen.domain.Persistent)
	if err != nil {
		return nil, nil, err
	}
	ports, emulator, macs := 0, (*v1alpha1.GuestEmulator)(nil), []v1alpha1.MACAddress(nil)
	firmware := (*v1alpha1.GuestFirmware)(nil)
	for i, xml := range definitions {
		needs, err := xmlrewrite.ReadNeeds([]byte(xml))
		if err != nil {
			return nil, nil, s.unreadable(err)
		}
		ports = max(ports, needs.SerialPorts)
		if i == 0 { // The running guest's.
			emulator = emulatorOf(needs, s.lm.Spec.MigrateData)
			macs = macAddressesOf(needs)
			firmware = s.firmwareOf(ctx, needs)
		}
	}
	secrets, err := s.secretsOf(definitions)
	if err != nil {
		return nil, nil, s.unreadable(err)
	}
	interfaces, interfacesErr := s.hostInterfacesOf(definitions)
	problems = append(problems, interfacesErr)
	resources, err := s.resourcesOf(ctx, definitions)
	if err != nil {
		return nil, nil, err
	}
	facts := &v1alpha1.GuestFacts{
		Name: seen.domain.Name, HostUUID: host.UUID, SerialPorts: int32(ports), Secrets: secrets, Emulator: emulator, Firmware: firmware,
		MACAddresses: macs, HostInterfaces: interfaces, Resources: resources,
	}
	markers, err := s.disksOf(ctx, definitions, facts)
	return facts, markers, allOf(append(problems, err))
}

// unreadable refuses a guest because of its definition.
func (s *sourceSession) unreadable(err error) error {
	return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerDefinitionUnreadable, "The definition of the guest %s cannot be read. Ask an administrator to correct it on %s with `virsh edit`, and then create another LiveMigration: %s",
		s.lm.Spec.Domain, s.node.Name, err)
}

// definitions reads the guest's definitions: that of the running guest and, if it
// has one, the persistent one.
func (s *sourceSession) definitions(ctx context.Context, persistent bool) ([]hypervisor.DomainXML, error) {
	forms := []hypervisor.XMLForm{hypervisor.XMLMigratable, hypervisor.XMLInactive}
	if !persistent {
		forms = forms[:1]
	}
	var definitions []hypervisor.DomainXML
	for _, form := range forms {
		xml, err := s.hv.DomainXML(ctx, s.lm.Status.DomainUUID, form)
		if err != nil {
			return nil, fmt.Errorf("reading the definition: %w", err)
		}
		definitions = append(definitions, xml)
	}
	return definitions, nil
}

// plan does what is done before a migration is started, for one that is not.
func (s *sourceSession) plan(ctx context.Context) time.Duration {
	var found error // By the look at the guest.
	if p := s.section.Problem; p != nil {
		found = &refusal{*p}
	}
	before := s.section.DeepCopy()
	_, err := s.params(ctx)
	err = allOf([]error{found, err, s.keepRoom(before)})
	section := s.section.DeepCopy()
	section.CheckedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
	if err != nil {
		return s.refuseOrRetry(section, err)
	}
	if migration.CurrentTarget(s.lm).Problem == nil {
		section.Load = s.measureLoad(ctx, section)
	}
	s.section = section
	s.report(atOnce)
	return 0
}

// start plans the rewrite, records the intent and, only if the object has not
// changed meanwhile, starts the migration. After the record the migration is
// never started again, by this agent or its successors.
func (s *sourceSession) start(ctx context.Context) time.Duration {
	before := s.section.DeepCopy()
	params, err := s.params(ctx)
	err = allOf([]error{err, s.keepRoom(before)})
	section := s.section.DeepCopy()
	if err != nil {
		section.CheckedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		return s.refuseOrRetry(section, err)
	}
	if s.intent == nil {
		// It stays the same however often this is tried: any of the records may have been
		// written.
		s.intent = new(metav1.NewMicroTime(s.node.Clock.Now().Truncate(time.Microsecond)))
	}
	section.StartRequestedTime = s.intent
	if done, wait := s.recordFirst(ctx, section, "the start"); !done {
		return wait
	}
	s.section, s.stopped, s.intent, s.jobOver = section, nil, nil, false
	s.call, s.called = migration.CallInFlight, s.node.Clock.Now()
	s.evidence = evidence{reason: s.reason}
	s.knobs = newKnobs(params)
	s.log.Info("Starting the migration", "target", s.lm.Status.TargetNode, "destination", params.DestinationURI)
	uuid := s.lm.Status.DomainUUID
	ctx, s.abandon = context.WithCancel(context.WithoutCancel(ctx))
	go func() { s.returned <- s.hv.Migrate(ctx, uuid, params) }()
	return followFirst
}

// recordIntent does not end with the agent: an intent that is written without
// anybody to act on it would fail the migration.
func (s *sourceSession) recordIntent(ctx context.Context, section *v1alpha1.SourceStatus) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverTimeout)
	defer cancel()
	return s.node.Recorder.RecordSource(ctx, s.lm, SourceReport{Section: section}, true)
}

// handOverTimeout is how long an agent that stops waits for the job of a
// migration that it has just started.
const handOverTimeout = 5 * time.Second

// handOver lets go of a migration for the next agent to adopt. A call that is on
// its way is first seen to arrive: nobody would make it again.
func (s *sourceSession) handOver(ctx context.Context) {
	defer s.abandon()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverTimeout)
	defer cancel()
	for s.call == migration.CallInFlight && s.section.JobStartedTime == nil && ctx.Err() == nil {
		s.look(ctx)
		if s.now.ours() {
			return
		}
		select {
		case err := <-s.returned:
			s.noteReturn(err)
		case <-ctx.Done():
		case <-s.node.Clock.After(followFirst):
		}
	}
}

// followFirst is the time between two looks at a job that was started and has
// not been seen yet.
const followFirst = 100 * time.Millisecond

// noWait is a wait that is none: there may be nothing new to be woken by.
const noWait = -1

// reread takes the object over from the API server itself. A record whose
// answer was lost may have been written: then this process, which has not made
// the call, does not make it either, and says so.
func (s *sourceSession) reread(ctx context.Context) time.Duration {
	lm, err := s.node.Recorder.Refresh(ctx, s.lm)
	if err != nil {
		s.log.Error(err, "Reading the object again failed; trying again", "after", retryInterval)
		return retryInterval
	}
	s.box.put(lm)
	if current := migration.CurrentSource(lm); current != nil {
		s.section = current.DeepCopy()
	}
	return noWait
}

// baseParams are the parameters of the migration without its definitions.
func (s *sourceSession) baseParams() hypervisor.MigrateParams {
	target, o := migration.CurrentTarget(s.lm), s.lm.Spec.Options
	p := hypervisor.MigrateParams{Persist: s.section.GuestPersistent, Transfer: s.transferral()}
	p.DestinationURI, p.MigrateURI = endpointURIs(target.Endpoint, s.node.Peers.to(s.lm.Status.TargetNode))
	p.ListenAddress, p.DisksURI = listensAt(target.Endpoint), disksURI(target.Endpoint)
	p.Copy = migration.DiskCopy(s.lm, s.section)
	p.AllowUnsafe = s.takesRisks() || s.provenSafe()
	if o == nil {
		return p
	}
	p.PostCopy = s.mayPostCopy()
	p.BandwidthMiBps = uint64(valueOr(o.BandwidthMiBps, 0)) //nolint:gosec // Positive by validation.
	if slow := o.AutoConverge; slow != nil {
		p.AutoConverge = &hypervisor.AutoConverge{
			InitialPercent:   uint32(valueOr(slow.InitialPercent, 0)),   //nolint:gosec // Positive by validation.
			IncrementPercent: uint32(valueOr(slow.IncrementPercent, 0)), //nolint:gosec // Positive by validation.
		}
	}
	return p
}

// mayPostCopy reports whether the migration is one that may be switched to post-copy.
// libvirt refuses to start such a one with a guest that stands paused, which does not
// need it.
func (s *sourceSession) mayPostCopy() bool {
	o := s.lm.Spec.Options
	return o != nil && valueOr(o.AllowPostCopy, false) && !s.section.GuestPaused
}

// params returns the parameters of the migration, and notes in section what they
// depend on. Of a dry run that the target refuses, it only finds what else is in the way.
func (s *sourceSession) params(ctx context.Context) (hypervisor.MigrateParams, error) {
	if err := checkTargetSection(migration.CurrentTarget(s.lm)); err != nil {
		return hypervisor.MigrateParams{}, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerTargetReportMalformed,
			"What the agent on %s reports about its host cannot be right: %s. Ask an administrator to check that agent and its flags, and then create another LiveMigration", s.lm.Status.TargetNode, err)
	}
	domain, err := s.hv.LookupDomain(ctx, s.lm.Status.DomainUUID)
	if err != nil {
		return hypervisor.MigrateParams{}, fmt.Errorf("looking the guest up: %w", err)
	}
	s.noteGuest(&domain)
	encryption := s.decideTransfer(ctx)
	p := s.baseParams()
	definitions, err := s.definitions(ctx, p.Persist)
	if err == nil {
		definitions, err = s.withoutTaken(definitions)
	}
	if err != nil {
		return p, err
	}
	faults, unsupported := s.versionFaults(ctx, definitions[0], domain.MemoryBytes)
	target := migration.CurrentTarget(s.lm)
	var rewritten []hypervisor.DomainXML
	var warnings []string
	if target.Problem == nil || target.Offer != nil {
		rewritten, warnings, err = s.rewrite(definitions)
	}
	// It may have waited for its turn since it was checked.
	if err := allOf([]error{s.checkTies(ctx), s.checkPeerSocket(ctx), encryption, unsupported, err}); err != nil || !toldAll(target, rewritten) {
		return p, err
	}
	p.LiveXML = rewritten[0]
	if p.Persist {
		p.PersistentXML = rewritten[1]
	}
	if err := s.planDisks(ctx, definitions[0], rewritten[0]); err != nil {
		return p, err
	}
	p.Copy, p.AllowUnsafe = migration.DiskCopy(s.lm, s.section), s.takesRisks() || s.provenSafe()
	p.Transfer = s.transferral()
	s.section.Warnings = migration.Warnings(warnings)
	s.section.KnownFaults = faults
	return p, nil
}

// toldAll reports whether the target has told all that is needed to go on. Only one that refuses, or
// that looks at a guest which is refused, has not.
func toldAll(target *v1alpha1.TargetStatus, rewritten []hypervisor.DomainXML) bool {
	return target.ReadyTime != nil && rewritten != nil
}

// noteGuest notes how the guest is before the start.
func (s *sourceSession) noteGuest(domain *hypervisor.Domain) {
	s.section.GuestPaused, s.section.GuestPersistent = domain.State == hypervisor.StatePaused, domain.Persistent
	s.reason = ""
	if domain.State == hypervisor.StateRunning {
		s.reason = domain.Reason
	}
}

// planDisks decides which disks are copied, and notes which are shared and which media stay.
func (s *sourceSession) planDisks(ctx context.Context, live, rewritten hypervisor.DomainXML) error {
	if err := s.noteEjected(live); err != nil {
		return err
	}
	running, err := s.running(ctx)
	if err != nil {
		return err
	}
	if err := s.planCopy(ctx, live, running, rewritten); err != nil {
		return err
	}
	return s.proveSharing(ctx, live, running)
}

// rewriteOptions are what the target's agent has said of its host.
func (s *sourceSession) rewriteOptions() xmlrewrite.Options {
	target := migration.CurrentTarget(s.lm)
	options := xmlrewrite.Options{Storage: s.storageMappings(), Flattened: migration.FlattenedDisks(s.lm)}
	if o := target.Offer; o != nil {
		options.Offer = &v1alpha1.MigrateData{
			Graphics: o.Graphics, Serial: o.Serial,
			NUMA: migration.MigratePins(o.NUMA), MediatedDevices: o.MediatedDevices, PCIDevices: migration.MigratePCI(o.PCIDevices),
		}
		options.Networks, options.DroppedPerfEvents = o.NetworkMappings, o.DroppedPerfEvents
	}
	if h := target.Host; h != nil {
		options.Target = xmlrewrite.TargetFacts{
			OnlineCPUs: string(h.OnlineCPUs), NUMANodes: string(h.NUMANodes), CgroupVersion: int(h.CgroupVersion),
			LibvirtVersion: h.LibvirtVersion,
		}
	}
	return options
}

// rewrite returns the guest's definitions for the target, and what to check there. A
// refusal names what is wrong with either; what is the same of both is told once.
func (s *sourceSession) rewrite(definitions []hypervisor.DomainXML) (rewritten []hypervisor.DomainXML, warnings []string, err error) {
	options := s.rewriteOptions()
	var problems, kept xmlrewrite.Problems
	for i, have := range definitions {
		options.Inactive = i > 0
		if len(definitions) > 1 {
			options.Other = string(definitions[1-i])
		}
		media, err := s.ejected(have, options.Inactive)
		if err != nil {
			return nil, nil, err
		}
		options.EmptyDrives = emptyDrives(media)
		plan, err := xmlrewrite.NewPlan([]byte(have), s.lm.Spec.MigrateData, options)
		var wrong xmlrewrite.Problems
		switch {
		case errors.As(err, &wrong):
			problems = addProblems(problems, wrong, options.Inactive)
			continue
		case err != nil:
			return nil, nil, err
		}
		rewritten = append(rewritten, hypervisor.DomainXML(plan.Apply()))
		kept = addProblems(kept, plan.Warnings(), options.Inactive)
	}
	if len(problems) > 0 {
		return nil, nil, doesNotFit(problems)
	}
	for _, w := range kept {
		s.log.Info("Keeping a host-dependent part of the guest's definition", "part", w.String())
		warnings = append(warnings, w.String())
	}
	return rewritten, warnings, nil
}

// doesNotFit refuses a guest whose definition cannot be rewritten.
func doesNotFit(problems xmlrewrite.Problems) error {
	r := &refusal{v1alpha1.Problem{Reason: v1alpha1.ReasonInvalidMigrateData, Message: migration.Shorten(
		"The migrate data does not fit the guest. Create another LiveMigration with a corrected spec.migrateData: "+problems.Error(), migration.MaxProblemMessage)}}
	for _, p := range problems {
		r.Blockers = append(r.Blockers, v1alpha1.Blocker{Code: v1alpha1.BlockerCode("Rewrite" + string(p.Kind)), Message: p.String()})
	}
	return r
}

// addProblems adds those that are not there already, and says of them if they are
// about the persistent definition.
func addProblems(all, more xmlrewrite.Problems, persistent bool) xmlrewrite.Problems {
	known := make(map[xmlrewrite.Problem]bool, len(all))
	for _, p := range all {
		known[p] = true
	}
	for _, p := range more {
		if known[p] {
			continue
		}
		if persistent {
			p.Message = "in the guest's persistent definition, " + p.Message
		}
		all = append(all, p)
	}
	return all
}
