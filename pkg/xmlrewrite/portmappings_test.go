package xmlrewrite

import (
	"slices"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestPortMappings: each listener that serial does not map gets its port on the target, once.
func TestPortMappings(t *testing.T) {
	t.Parallel()
	const guest = `<domain type='kvm'><name>g</name><devices>
  <serial type='udp'><source mode='bind' host='0.0.0.0' service="2001"/><source mode='connect' host='192.0.2.9' service='2001'/></serial>
  <serial type='tcp'><source mode='bind' host='0.0.0.0' service='2002'/></serial>
  <channel type='tcp'><source mode='bind' host='0.0.0.0' service='2003'/></channel>
  <channel type='tcp'><source mode='connect' host='192.0.2.9' service='2003'/></channel>
  <rng model='virtio'><backend model='egd' type='udp'><source mode='bind' host='0.0.0.0' service='2004'/></backend></rng>
</devices></domain>`
	ports := func(pairs ...int32) *v1alpha1.MigrateData {
		data := &v1alpha1.MigrateData{}
		for i := 0; i < len(pairs); i += 2 {
			data.PortMappings = append(data.PortMappings, v1alpha1.PortMapping{From: pairs[i], To: pairs[i+1]})
		}
		return data
	}
	for _, c := range []struct {
		name     string
		data     *v1alpha1.MigrateData
		replaced []string
		warned   []string
		swapped  bool
		problem  string
	}{
		{name: "all are warned about", data: nil, warned: []string{"serial[1]/source[1]", "channel[1]/source", "rng/backend/source"}},
		{name: "one is mapped", data: ports(2003, 3003), replaced: []string{`host='0.0.0.0' service='2003'/></channel>`, `host='0.0.0.0' service='3003'/></channel>`},
			warned: []string{"serial[1]/source[1]", "rng/backend/source"}},
		{name: "all are", data: ports(2001, 3001, 2003, 3003, 2004, 2004),
			replaced: []string{`service="2001"`, `service="3001"`, `host='0.0.0.0' service='2003'/></channel>`, `host='0.0.0.0' service='3003'/></channel>`}},
		{name: "serial has those of serial ports", data: ports(2002, 3002), problem: "portMappings[0].from"},
		{name: "nothing listens there", data: ports(2003, 3003, 9, 10), problem: "portMappings[1].from"},
		{name: "one passes its port on", data: ports(2003, 2004, 2004, 3004),
			replaced: []string{`host='0.0.0.0' service='2003'/></channel>`, `host='0.0.0.0' service='2004'/></channel>`, `service='2004'/></backend>`, `service='3004'/></backend>`},
			warned:   []string{"serial[1]/source[1]"}},
		{name: "two swap theirs", data: ports(2003, 2004, 2004, 2003), swapped: true,
			replaced: []string{`host='0.0.0.0' service='2003'/></channel>`, `host='0.0.0.0' service='2004'/></channel>`, `service='2004'/></backend>`, `service='2003'/></backend>`},
			warned:   []string{"serial[1]/source[1]"}},
		{name: "one is mistyped, and what it leads to is there", data: ports(2003, 3003, 9, 2004), problem: "portMappings[1].from"},
		{name: "two get the same port", data: ports(2003, 3003, 2004, 3003), problem: "portMappings[1].to"},
		{name: "one entry too many", data: ports(2003, 3003, 2003, 3004), problem: "portMappings[1].from"},
		{name: "no port", data: ports(2003, 70000), problem: "portMappings[0].to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan, err := NewPlan(guest, c.data, Options{})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Fatalf("got %v, want a problem at %s", err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer(c.replaced...).Replace(guest)
			if got := plan.Apply(); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var warned []string
			for _, w := range plan.Warnings() {
				if strings.Contains(w.Message, "mapped by portMappings") {
					warned = append(warned, strings.TrimPrefix(w.XMLPath, "/domain/devices/"))
				}
			}
			if strings.Join(warned, " ") != strings.Join(c.warned, " ") {
				t.Errorf("warned about %q, want %q", warned, c.warned)
			}
			again, err := NewPlan(plan.Apply(), c.data, Options{})
			if c.swapped {
				want = guest // What is swapped twice is as before.
			}
			if err != nil || again.Apply() != want {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// TestPortThatCountsAsMapped: where every entry looks as if it had been carried out, each says
// so, for it may have been mistyped. One that means the other definition does not.
func TestPortThatCountsAsMapped(t *testing.T) {
	t.Parallel()
	guest := func(ports ...string) string {
		var devices strings.Builder
		for _, port := range ports {
			devices.WriteString("<channel type='tcp'><source mode='bind' host='0.0.0.0' service='" + port + "'/></channel>")
		}
		return "<domain type='kvm'><name>g</name><devices>" + devices.String() + "</devices></domain>"
	}
	for _, c := range []struct {
		name     string
		guest    string
		options  Options
		mappings []v1alpha1.PortMapping
		want     string
		warned   []string
		problem  string
	}{
		{name: "one is mistyped", guest: guest("2003"), mappings: []v1alpha1.PortMapping{{From: 999, To: 2003}},
			want: guest("2003"), warned: []string{"spec.migrateData.portMappings[0].from"}},
		{name: "all are mapped", guest: guest("3003", "3004", "2005"), mappings: []v1alpha1.PortMapping{{From: 2003, To: 3003}, {From: 2004, To: 3004}, {From: 2005, To: 2005}},
			want: guest("3003", "3004", "2005"), warned: []string{"spec.migrateData.portMappings[0].from", "spec.migrateData.portMappings[1].from"}},
		{name: "the other definition is still to be mapped", guest: guest("3003"), options: Options{Inactive: true, Other: guest("2003")},
			mappings: []v1alpha1.PortMapping{{From: 2003, To: 3003}}, want: guest("3003")},
		{name: "the other definition is mapped, too", guest: guest("3003"), options: Options{Inactive: true, Other: guest("3003", "3004")},
			mappings: []v1alpha1.PortMapping{{From: 2003, To: 3003}, {From: 2004, To: 3004}}, want: guest("3003"), warned: []string{"spec.migrateData.portMappings[0].from"}},
		{name: "neither definition has it", guest: guest("2004"), options: Options{Inactive: true, Other: guest("2004")},
			mappings: []v1alpha1.PortMapping{{From: 2003, To: 3003}}, problem: "portMappings[0].from"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan, err := NewPlan(c.guest, &v1alpha1.MigrateData{PortMappings: c.mappings}, c.options)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, want a problem at %s", err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.Apply(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			var warned []string
			for _, w := range plan.Warnings() {
				if strings.Contains(w.Message, "counts as mapped") {
					warned = append(warned, w.DataPath)
				}
			}
			if !slices.Equal(warned, c.warned) {
				t.Errorf("warned about %q, want %q", warned, c.warned)
			}
		})
	}
}

// TestNoTwoListenersGetOnePort, whatever the ports come from.
func TestNoTwoListenersGetOnePort(t *testing.T) {
	t.Parallel()
	const guest = `<domain type='kvm'><name>g</name><devices>
  <serial type='tcp'><source mode='bind' host='0.0.0.0' service='2002'/><target port='0'/></serial>
  <serial type='udp'><source mode='bind' host='0.0.0.0' service='2005'/><source mode='connect' host='192.0.2.9' service='9'/></serial>
  <channel type='tcp'><source mode='bind' host='0.0.0.0' service='2003'/><target type='virtio' name='a'/></channel>
  <channel type='tcp'><source mode='bind' host='127.0.0.1' service='2004'/><target type='virtio' name='b'/></channel>
  <channel type='tcp'><source mode='bind' host='127.0.0.2' service='2004'/><target type='virtio' name='c'/></channel>
</devices></domain>`
	serial := func(port int32) *v1alpha1.MigrateData {
		return &v1alpha1.MigrateData{Serial: &v1alpha1.SerialMigrateData{Ports: []int32{port}}}
	}
	for name, c := range map[string]struct {
		mapped   []v1alpha1.PortMapping
		given    *v1alpha1.MigrateData
		offered  *v1alpha1.MigrateData
		conflict bool
	}{
		"as it is on the source":             {},
		"a channel has the port already":     {mapped: []v1alpha1.PortMapping{{From: 2003, To: 2004}}, conflict: true},
		"the target offers it":               {mapped: []v1alpha1.PortMapping{{From: 2003, To: 15000}}, offered: serial(15000), conflict: true},
		"the user gives it to a serial port": {mapped: []v1alpha1.PortMapping{{From: 2003, To: 3003}}, given: serial(3003), conflict: true},
		"a serial port gets a channel's":     {given: serial(2004), conflict: true},
		"a serial port keeps it":             {mapped: []v1alpha1.PortMapping{{From: 2003, To: 2002}}, conflict: true},
		"of another protocol":                {mapped: []v1alpha1.PortMapping{{From: 2005, To: 2003}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := &v1alpha1.MigrateData{PortMappings: c.mapped}
			if c.given != nil {
				data.Serial = c.given.Serial
			}
			_, err := NewPlan(guest, data, Options{Offer: c.offered})
			if conflict := err != nil && strings.Contains(err.Error(), "gets the port"); conflict != c.conflict || err != nil && !c.conflict {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Graphics have ports, too, and devices that listened on different addresses of the source
// get the same one of the target.
func TestNoListenerGetsAPortThatTheGuestHasOnTheTarget(t *testing.T) {
	t.Parallel()
	channel := func(name, host, port string) string {
		return "<channel type='tcp'><source mode='bind' host='" + host + "' service='" + port + "'/><protocol type='raw'/><target type='virtio' name='" + name + "'/></channel>"
	}
	const serial = "<serial type='tcp'><source mode='bind' host='10.0.0.1' service='10000'/><protocol type='raw'/><target port='0'/></serial>"
	const vnc = "<graphics type='vnc' port='5901' autoport='no' websocket='5902' listen='10.0.0.1'><listen type='address' address='10.0.0.1'/></graphics>"
	const graphics = "graphics: {vncListenAddress: 10.0.0.2, fixedPorts: "
	for name, c := range map[string]struct{ devices, data, conflict string }{
		"a serial port gets that of VNC":   {serial + vnc, "serial: {listenAddress: 10.0.0.2, ports: [5901]}\n" + graphics + "Keep}", "serial.ports"},
		"VNC gets another":                 {serial + vnc, "serial: {listenAddress: 10.0.0.2, ports: [5901]}\n" + graphics + "Automatic}", ""},
		"a channel gets that of VNC":       {channel("a", "10.0.0.1", "4555") + vnc, "serial: {listenAddress: 10.0.0.2}\nportMappings: [{from: 4555, to: 5902}]\n" + graphics + "Keep}", "portMappings"},
		"a channel keeps that of VNC":      {channel("a", "10.0.0.3", "5902") + vnc, "serial: {listenAddress: 10.0.0.2}\n" + graphics + "Keep}", "portMappings"},
		"channels were on two addresses":   {channel("a", "10.0.0.1", "4555") + channel("b", "10.0.0.3", "4555"), "serial: {listenAddress: 10.0.0.2}", "in the guest's definition"},
		"nor does the map part them":       {channel("a", "10.0.0.1", "4555") + channel("b", "10.0.0.3", "4555"), "serial: {listenAddress: 10.0.0.2}\nportMappings: [{from: 4555, to: 4556}]", "in the guest's definition"},
		"channels stay on two addresses":   {channel("a", "127.0.0.1", "4555") + channel("b", "127.0.0.2", "4555"), "serial: {listenAddress: 10.0.0.2}", ""},
		"one of the channels gets another": {channel("a", "10.0.0.1", "4555") + channel("b", "10.0.0.3", "4556"), "serial: {listenAddress: 10.0.0.2}", ""},
	} {
		o := planDevices(t, "", c.devices, c.data)
		if (o.problems != "") != (c.conflict != "") || !strings.Contains(o.problems, c.conflict) {
			t.Errorf("%s: %q", name, o.problems)
		}
	}
}
