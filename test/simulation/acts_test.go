package simulation

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// verb is a kind of act.
type verb struct {
	// weight is how often it is chosen among others.
	weight int
	do     func(w *world, a act)
}

func verbNames(verbs map[string]verb) (names []string, total int) {
	for name, v := range verbs {
		names, total = append(names, name), total+v.weight
	}
	slices.Sort(names)
	return names, total
}

// allVerbs are all that can happen.
func allVerbs() map[string]verb {
	return map[string]verb{
		// Users.
		"apply":          {6, apply},
		"delete":         {4, remove},
		"cancel":         {4, annotate(v1alpha1.AnnotationCancel)},
		"force-complete": {8, annotate(v1alpha1.AnnotationForceComplete)},
		"edit":           {2, edit},
		"take finalizer": {1, takeFinalizer},
		// Administrators.
		"virsh define":      {1, define},
		"virsh start":       {2, start},
		"virsh destroy":     {2, destroy},
		"virsh migrate":     {3, migrateByHand},
		"virsh suspend":     {2, suspend},
		"virsh resume":      {2, resume},
		"virsh backup":      {3, backUp},
		"delete Hypervisor": {2, deleteHypervisor},
		"edit Hypervisor":   {1, editHypervisor},
		// Fate.
		"agent killed":     {6, agentStops(true)},
		"agent hangs":      {0, agentHangs}, // See plan.hangs.
		"agent updated":    {3, agentStops(false)},
		"manager killed":   {3, managerKilled},
		"two managers":     {3, twoManagers},
		"daemon killed":    {5, daemonKilled},
		"connection lost":  {2, func(w *world, a act) { w.hosts[a.Node].libvirt.LoseConnection() }},
		"libvirt hangs":    {3, libvirtHangs},
		"guest wedged":     {2, func(w *world, a act) { w.later(a.Length, w.hosts[a.Node].libvirt.Wedge(w.guests[a.Guest].uuid)) }},
		"events lost":      {2, eventsLost},
		"guest stops":      {2, guestStops},
		"ends otherwise":   {2, endsOtherwise},
		"post-copy breaks": {2, func(w *world, a act) { w.fleet.BreakPostCopy(w.guests[a.Guest].uuid) }},
		"hosts part": {3, func(w *world, a act) {
			w.later(a.Length, w.fleet.Part(w.hosts[a.Node].libvirt, w.hosts[a.Other].libvirt))
		}},
		"libvirts part":     {2, func(w *world, a act) { w.fleet.LoseSupervision(w.guests[a.Guest].uuid) }},
		"host dies":         {2, hostDies},
		"host lost":         {1, hostLost},
		"API away":          {4, changeWeather(func(x *weather, _ act) { x.away = true })},
		"API lossy":         {5, changeWeather(func(x *weather, a act) { x.lossy = 5 + a.Kind%40 })},
		"API fails":         {3, changeWeather(func(x *weather, a act) { x.failing = 5 + a.Kind%40 })},
		"API slow":          {2, changeWeather(func(x *weather, a act) { x.slow = time.Duration(a.Kind*20) * time.Millisecond })},
		"node without API":  {3, nodeWithoutAPI},
		"watches stall":     {4, watchesStall},
		"watches break":     {3, func(w *world, _ act) { w.everyWire((*wire).cut) }},
		"history forgotten": {2, forgetHistory},
		"clock set":         {2, clockSet},
		"guest writes":      {2, guestWrites},
	}
}

// moveKey is the name of a LiveMigration.
func moveKey(a act) key { return key{"livemigrations", userNamespace, "move-" + strconv.Itoa(a.Move)} }

func moveRequest(a act) request {
	return request{resource: resources[0], key: moveKey(a), by: "user", owner: "kubectl"}
}

func apply(w *world, a act) {
	options := optionsOf(a.Kind)
	deviceOptions(w.guests[a.Guest], a.Kind, options)
	spec := object{"domain": w.guests[a.Guest].name, "targetNode": w.hosts[a.Node].name, "options": options}
	if a.Kind%5 == 0 {
		spec["domain"] = w.guests[a.Guest].uuid
	}
	if a.Kind%9 == 0 {
		spec["sourceNode"] = w.hosts[a.Other].name
	}
	if a.Kind%11 == 0 {
		spec["ttlSecondsAfterFinished"] = int64(a.Kind)
	}
	if a.Kind%4 == 3 {
		spec["priority"] = int64(a.Kind)
	}
	if a.Kind%8 == 6 {
		spec["dryRun"] = true
	}
	_, err := w.server.create(moveRequest(a), object{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "LiveMigration",
		"metadata": object{"name": moveKey(a).name, "namespace": userNamespace}, "spec": spec,
	})
	if err != nil {
		w.say("not applied: %v", err)
	}
}

// optionsOf are those that lead to post-copy, to a pause, or to giving up, and say how the
// guest is sent.
func optionsOf(kind int) object {
	options := object{"maxDowntimeMilliseconds": int64(50 + kind*5)}
	switch kind % 7 {
	case 1, 4:
		options["transfer"] = object{"encryption": string(v1alpha1.EncryptionRequired)}
	case 2:
		options["transfer"] = object{"encryption": string(v1alpha1.EncryptionDisabled)}
	}
	switch kind % 5 {
	case 0, 3:
		options["allowPostCopy"] = true
	case 1:
		options["allowPause"] = true
	case 2:
		options["allowPostCopy"], options["onTimeout"] = true, "ForceComplete"
		options["completionTimeoutSecondsPerGiB"] = int64(10)
	}
	return options
}

func remove(w *world, a act) { _, _ = w.server.remove(moveRequest(a), "", "") }

func annotate(annotation string) func(*world, act) {
	return func(w *world, a act) {
		w.change(a, func(o object) {
			annotations := in(metaOf(o), "annotations")
			if annotations == nil {
				annotations = object{}
				metaOf(o)["annotations"] = annotations
			}
			annotations[annotation] = strconv.Itoa(a.Kind)
		})
	}
}

// change changes a LiveMigration as its user does.
func (w *world) change(a act, do func(object)) {
	_, _ = w.server.edit(moveRequest(a), func(o object) (object, error) {
		do(o)
		return o, nil
	})
}

func edit(w *world, a act) {
	w.change(a, func(o object) {
		spec := in(o, "spec")
		switch a.Kind % 4 {
		case 0:
			spec["ttlSecondsAfterFinished"] = int64(a.Kind)
		case 1:
			in(spec, "options")["maxDowntimeMilliseconds"] = int64(1 + a.Kind*20)
		case 2:
			in(spec, "options")["bandwidthMiBps"] = int64(1 + a.Kind)
		case 3:
			spec["priority"] = int64(a.Kind)
		}
	})
}

func takeFinalizer(w *world, a act) {
	w.observer.excuse(moveKey(a))
	w.change(a, func(o object) { delete(metaOf(o), "finalizers") })
}

func destroy(w *world, a act) {
	w.observer.mourn(w.guests[a.Guest])
	w.hosts[a.Node].libvirt.Destroy(w.guests[a.Guest].uuid)
}

// define leaves an old definition of a guest on a node that has none.
func define(w *world, a act) {
	g, node := w.guests[a.Guest], w.hosts[a.Node]
	if _, known := w.fleet.Copies(g.uuid)[node.name]; !known {
		w.observer.noteDefined(g, node.name)
		def := fake.Guest{
			UUID: g.uuid, Name: g.name, Persistent: true, State: hypervisor.StateShutoff, Reason: hypervisor.ReasonUnknown, MemoryBytes: g.memory,
		}
		def.PersistentXML = definition(def, nthPlace(0))
		def.LiveXML = def.PersistentXML
		node.libvirt.AddGuest(def)
	}
}

func start(w *world, a act) {
	w.observer.touch(w.guests[a.Guest])
	w.observer.noteBrought(w.hosts[a.Node].name, w.guests[a.Guest].uuid, nowhere())
	w.hosts[a.Node].libvirt.Start(w.guests[a.Guest].uuid)
}

func suspend(w *world, a act) {
	w.observer.touch(w.guests[a.Guest])
	w.hosts[a.Node].libvirt.Pause(w.guests[a.Guest].uuid)
}

func resume(w *world, a act) {
	w.observer.touch(w.guests[a.Guest])
	w.hosts[a.Node].libvirt.Unpause(w.guests[a.Guest].uuid)
}

// migrateByHand is virsh migrate, which waits for the end.
func migrateByHand(w *world, a act) {
	source, target, uuid := w.hosts[a.Node].libvirt, w.hosts[a.Other].libvirt, w.guests[a.Guest].uuid
	if half := w.fleet.Copies(uuid)[source.Name()]; half.Active() && !whole(half) {
		w.observer.touch(w.guests[a.Guest]) // What libvirt holds paused arrives so, and nobody resumes it.
	}
	w.observer.noteByHand(uuid, 1)
	w.people.Go(func() {
		defer w.observer.noteByHand(uuid, -1)
		ctx, cancel := context.WithTimeout(w.life, 10*time.Minute)
		defer cancel()
		xml, err := source.DomainXML(ctx, uuid, hypervisor.XMLMigratable)
		if err != nil {
			return
		}
		w.observer.noteBrought(target.Name(), uuid, placeIn(xml))
		postCopy := a.Kind%4 == 1
		if postCopy {
			w.people.Go(func() {
				time.Sleep(time.Second)
				_ = source.StartPostCopy(ctx, uuid)
			})
		}
		err = source.Migrate(ctx, uuid, hypervisor.MigrateParams{
			DestinationURI: target.URI(), LiveXML: xml, Persist: a.Kind%2 == 0, PersistentXML: xml, PostCopy: postCopy,
		})
		if err != nil {
			w.observer.noteTold(w.guests[a.Guest])
		}
	})
}

func deleteHypervisor(w *world, a act) {
	_, _ = w.server.remove(hypervisorRequest(w, a), "", "")
}

// editHypervisor has it say that no guest is there.
func editHypervisor(w *world, a act) {
	_, _ = w.server.edit(hypervisorRequest(w, a), func(o object) (object, error) {
		if status := in(o, "status"); status != nil {
			delete(status, "domains")
		}
		return o, nil
	})
}

func hypervisorRequest(w *world, a act) request {
	return request{resource: resources[1], key: key{plural: "hypervisors", name: w.hosts[a.Node].name}, by: "administrator"}
}

func agentStops(kill bool) func(*world, act) {
	return func(w *world, a act) {
		n := w.hosts[a.Node]
		if n.agent == nil {
			return
		}
		w.stopAgent(n, kill)
		w.later(a.Length, func() {
			if n.agent == nil {
				w.startAgent(n)
			}
		})
	}
}

// agentHangs has an agent neither ask nor hear anything for a while: its machine was so busy,
// or somebody has sent it a signal. Then it goes on with what it knew before.
func agentHangs(w *world, a act) {
	if p := w.hosts[a.Node].agent; p != nil {
		p.gate.shut()
		w.later(a.Length, p.gate.open)
	}
}

func managerKilled(w *world, a act) {
	for len(w.managers) > 0 {
		w.stopManager(0)
	}
	w.later(a.Length, func() {
		if len(w.managers) == 0 {
			w.startManager()
		}
	})
}

// twoManagers starts another manager while one is still there, which goes later: it has
// lost its lease, and does not know yet.
func twoManagers(w *world, a act) {
	w.startManager()
	w.later(min(a.Length, 20*time.Second), func() {
		if len(w.managers) > 1 {
			w.stopManager(0)
		}
	})
}

func daemonKilled(w *world, a act) {
	n := w.hosts[a.Node].libvirt
	n.KillDaemon()
	w.later(a.Length, func() { w.reconnect(w.hosts[a.Node]) })
}

// hanging are the calls of libvirt that may hang.
func hanging() []fake.Method {
	return []fake.Method{
		fake.MethodLookupDomain, fake.MethodJobStats, fake.MethodListDomains, fake.MethodMigrate, fake.MethodAbortJob, fake.MethodHostInfo,
		fake.MethodUndefine, fake.MethodDestroyIncoming, fake.MethodSuspend, fake.MethodResume, fake.MethodStartPostCopy, fake.MethodRecoverPostCopy,
		fake.MethodDestroyStale, fake.MethodFreezeGuest, fake.MethodThawGuest,
	}
}

func libvirtHangs(w *world, a act) {
	methods := hanging()
	w.later(a.Length, w.hosts[a.Node].libvirt.Hang(methods[a.Kind%len(methods)]))
}

func eventsLost(w *world, a act) {
	n := w.hosts[a.Node].libvirt
	n.DropEvents(true)
	w.later(a.Length, func() { n.DropEvents(false) })
}

func guestStops(w *world, a act) {
	w.observer.mourn(w.guests[a.Guest])
	w.fleet.PowerOff(w.guests[a.Guest].uuid)
}

// endings are how a migration can end other than well.
func endings() []fake.Ending {
	return []fake.Ending{
		fake.EndsPoweredOff, fake.EndsCrashed, fake.EndsTargetLost, fake.EndsShellLeft, fake.EndsBothRunning, fake.EndsSourceKept,
		fake.EndsPostCopyBroken, fake.EndsGuestLost, fake.EndsUnheard, fake.EndsNeither, fake.EndsHeld, fake.EndsBothHeld, fake.EndsHeldAlone,
	}
}

// endsOtherwise has the guest's next migration not end well.
func endsOtherwise(w *world, a act) {
	ending := endings()[a.Kind%len(endings())]
	w.say("ends as %s", ending)
	switch ending {
	case fake.EndsPoweredOff, fake.EndsCrashed, fake.EndsGuestLost, fake.EndsNeither:
		w.observer.mourn(w.guests[a.Guest])
	}
	w.fleet.ScriptNext(w.guests[a.Guest].uuid, fake.Script{Ending: ending, AfterPass: uint64(a.Kind % 3)})
}

// hostDies takes the power from a host, with all guests.
func hostDies(w *world, a act) {
	n := w.hosts[a.Node]
	w.powerOff(n)
	w.later(a.Length, func() {
		w.reconnect(n)
		if n.agent == nil {
			w.startAgent(n)
		}
	})
}

// hostLost has a host never come back. Some time later, somebody deletes its Hypervisor. Two
// hosts are left, at least.
func hostLost(w *world, a act) {
	n, left := w.hosts[a.Node], 0
	for _, other := range w.hosts {
		if !other.lost {
			left++
		}
	}
	if left < 3 || n.lost {
		return
	}
	n.lost = true
	w.powerOff(n)
	w.later(a.Length, func() { deleteHypervisor(w, a) })
}

func (w *world) powerOff(n *host) {
	w.stopAgent(n, true)
	n.libvirt.KillDaemon()
	for _, g := range w.guests {
		if c, ok := w.fleet.Copies(g.uuid)[n.name]; ok && c.Active() {
			w.observer.mourn(g)
			n.libvirt.Destroy(g.uuid)
		}
	}
}

// changeWeather is one for all processes, those that begin meanwhile included.
func changeWeather(change func(*weather, act)) func(*world, act) {
	return func(w *world, a act) {
		change(&w.weather, a)
		w.everyWire(func(x *wire) { x.set(func(now *weather) { change(now, a) }) })
		w.later(a.Length, func() {
			w.weather = weather{}
			w.everyWire(func(x *wire) { x.set(func(now *weather) { *now = weather{stalled: now.stalled} }) })
		})
	}
}

func nodeWithoutAPI(w *world, a act) {
	if p := w.hosts[a.Node].agent; p != nil {
		p.wire.set(func(now *weather) { now.away = true })
		w.later(a.Length, func() { p.wire.set(func(now *weather) { now.away = false }) })
	}
}

// watchesStall has one process hear nothing new: a node's agent, or a manager.
func watchesStall(w *world, a act) {
	p := w.hosts[a.Node].agent
	if a.Kind%3 == 0 && len(w.managers) > 0 {
		p = w.managers[0]
	}
	if p != nil {
		p.wire.set(func(now *weather) { now.stalled = true })
		w.later(a.Length, func() { p.wire.set(func(now *weather) { now.stalled = false }) })
	}
}

func forgetHistory(w *world, _ act) {
	w.server.compact()
	w.everyWire((*wire).cut)
}

// clockSet has a host's clock go wrong by up to five minutes, which its agent sees when it
// starts again.
func clockSet(w *world, a act) {
	n := w.hosts[a.Node]
	n.skew = time.Duration(a.Kind-50) * 6 * time.Second
	agentStops(true)(w, a)
}

func guestWrites(w *world, a act) {
	for _, n := range w.hosts {
		n.libvirt.SetDirtyRate(w.guests[a.Guest].uuid, uint64(a.Kind)<<20)
	}
}
