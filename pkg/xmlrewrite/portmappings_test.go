package xmlrewrite

import (
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
		problem  string
	}{
		{name: "all are warned about", data: nil, warned: []string{"serial[1]/source[1]", "channel[1]/source", "rng/backend/source"}},
		{name: "one is mapped", data: ports(2003, 3003), replaced: []string{`host='0.0.0.0' service='2003'/></channel>`, `host='0.0.0.0' service='3003'/></channel>`},
			warned: []string{"serial[1]/source[1]", "rng/backend/source"}},
		{name: "all are", data: ports(2001, 3001, 2003, 3003, 2004, 2004),
			replaced: []string{`service="2001"`, `service="3001"`, `host='0.0.0.0' service='2003'/></channel>`, `host='0.0.0.0' service='3003'/></channel>`}},
		{name: "serial has those of serial ports", data: ports(2002, 3002), problem: "portMappings[0].from"},
		{name: "nothing listens there", data: ports(2003, 3003, 9, 10), problem: "portMappings[1].from"},
		{name: "a port is mapped twice", data: ports(2003, 2004, 2004, 3004), problem: "portMappings[0].to"},
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
				if strings.Contains(w.Message, "listens on a port") {
					warned = append(warned, strings.TrimPrefix(w.XMLPath, "/domain/devices/"))
				}
			}
			if strings.Join(warned, " ") != strings.Join(c.warned, " ") {
				t.Errorf("warned about %q, want %q", warned, c.warned)
			}
			again, err := NewPlan(plan.Apply(), c.data, Options{})
			if err != nil || again.Apply() != want {
				t.Errorf("again: %v", err)
			}
		})
	}
}
