package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// manyGuests returns guests, every other of which is off.
func manyGuests(n int, name string) []hypervisor.Domain {
	out := make([]hypervisor.Domain, 0, n)
	for i := range n {
		d := hypervisor.Domain{UUID: uuid.NewString(), Name: fmt.Sprintf("%s%04d", name, i), State: hypervisor.StateShutoff, Reason: hypervisor.ReasonDestroyed}
		if i%2 == 0 {
			d.State, d.Reason = hypervisor.StateRunning, hypervisor.ReasonBooted
		}
		out = append(out, d)
	}
	return out
}

// TestTheListIsBounded whatever the names, and lists those that are active first.
func TestTheListIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		guests []hypervisor.Domain
		least  int
	}{
		"ordinary":             {manyGuests(1000, "web-"), 1000},
		"as many as possible":  {manyGuests(4096, "web-"), 4096},
		"more":                 {manyGuests(5000, "web-"), 4096},
		"long names":           {manyGuests(4096, strings.Repeat("\U0001F6A2", 252)), 400},
		"names to be escaped":  {manyGuests(4096, strings.Repeat("<", 252)), 300},
		"names of \u2028 only": {manyGuests(4096, strings.Repeat("\u2028", 252)), 300},
	} {
		t.Run(name, func(t *testing.T) {
			list := listDomains(c.guests, nil)
			if len(list) < c.least {
				t.Errorf("%d are listed, want %d", len(list), c.least)
			}
			text, err := json.Marshal(list)
			if err != nil || len(text) > maxListedBytes+2 {
				t.Errorf("they take %d bytes: %v", len(text), err)
			}
			for i, d := range list {
				if i < len(c.guests)/2 && d.State != string(hypervisor.StateRunning) {
					t.Fatalf("number %d is %s", i, d.State)
				}
			}
		})
	}
}

// TestAListMayBeAsLongAsItsBound, and not longer by a byte.
func TestAListMayBeAsLongAsItsBound(t *testing.T) {
	const each, fit = 256, maxListedBytes / 256
	guests := make([]hypervisor.Domain, fit)
	for i := range guests {
		guests[i] = hypervisor.Domain{UUID: uuid.NewString(), State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted}
		entry, _ := listed(guests[i])
		entry.Name = "-"
		guests[i].Name = strings.Repeat("n", each-encodedSize(entry)+1)
	}
	if list := listDomains(guests, nil); len(list) != fit {
		t.Errorf("%d are listed, want %d", len(list), fit)
	}
	guests[0].Name += "n"
	if list := listDomains(guests, nil); len(list) != fit-1 {
		t.Errorf("%d are listed, want %d", len(list), fit-1)
	}
}

// TestOddGuestsAreListed by what can be said of them.
func TestOddGuestsAreListed(t *testing.T) {
	const id = "11111111-1111-4111-8111-111111111111"
	for name, c := range map[string]struct {
		guest    hypervisor.Domain
		wantName string
		want     bool
	}{
		"ordinary":               {hypervisor.Domain{UUID: id, Name: "web", State: "Running"}, "web", true},
		"the longest name":       {hypervisor.Domain{UUID: id, Name: strings.Repeat("ü", 256), State: "Running"}, strings.Repeat("ü", 256), true},
		"a longer name":          {hypervisor.Domain{UUID: id, Name: strings.Repeat("u", 257), State: "Running"}, "", true},
		"a name that is no text": {hypervisor.Domain{UUID: id, Name: "web\xff", State: "Running"}, "", true},
		"no name":                {hypervisor.Domain{UUID: id, State: "Running"}, "", true},
		"no state":               {hypervisor.Domain{UUID: id, Name: "web"}, "web", true},
		"the longest state":      {hypervisor.Domain{UUID: id, Name: "web", State: hypervisor.State(strings.Repeat("s", 64)), Reason: hypervisor.Reason(strings.Repeat("r", 64))}, "web", true},
		"a longer state":         {hypervisor.Domain{UUID: id, Name: "web", State: hypervisor.State(strings.Repeat("s", 65))}, "", false},
		"a longer reason":        {hypervisor.Domain{UUID: id, Name: "web", State: "Running", Reason: hypervisor.Reason(strings.Repeat("r", 65))}, "", false},
		"no UUID":                {hypervisor.Domain{Name: "web", State: "Running"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			list := listDomains([]hypervisor.Domain{c.guest}, nil)
			if len(list) == 1 != c.want {
				t.Fatalf("listed are %v", list)
			}
			if c.want && (list[0].Name != c.wantName || list[0].State == "") {
				t.Errorf("it is listed as %+v", list[0])
			}
		})
	}
}

// TestOneOddGuestHidesNoOther: the others are listed.
func TestOneOddGuestHidesNoOther(t *testing.T) {
	guests := append([]hypervisor.Domain{{Name: "odd", State: "Running"}}, manyGuests(2, "web-")...)
	if list := listDomains(guests, nil); len(list) != 2 {
		t.Errorf("listed are %v", list)
	}
}
