//go:build linux

package lab

import (
	"encoding/hex"
	"testing"
	"time"
)

func TestLongestSilence(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name             string
		arrivals         []int
		from, to         int
		wantFrom, wantTo int
	}{
		{"nothing came", nil, 100, 200, 100, 200},
		{"a gap in the middle", []int{100, 110, 150, 160}, 100, 160, 110, 150},
		{"the longer of two", []int{100, 120, 130, 160}, 100, 160, 130, 160},
		{"one that began before", []int{50, 120, 130}, 100, 140, 50, 120},
		{"one that ends after", []int{100, 110, 250}, 100, 150, 110, 250},
		{"those outside are left out", []int{10, 90, 100, 110, 120, 200}, 100, 120, 100, 110},
		{"it does not come back", []int{100, 110}, 100, 200, 110, 200},
		{"it begins late", []int{150, 160}, 100, 160, 100, 150},
	} {
		t.Run(c.name, func(t *testing.T) {
			var arrivals []time.Time
			for _, ms := range c.arrivals {
				arrivals = append(arrivals, at(ms))
			}
			got := longestSilence(arrivals, at(c.from), at(c.to))
			if want := (Silence{From: at(c.wantFrom), To: at(c.wantTo)}); got != want {
				t.Errorf("got %s to %s, want %s to %s", got.From.Sub(epoch), got.To.Sub(epoch), want.From.Sub(epoch), want.To.Sub(epoch))
			}
		})
	}
}

func TestEchoRequest(t *testing.T) {
	// The checksum is that of RFC 1071: all words of the packet add up to ffff.
	if got := hex.EncodeToString(echoRequest(0x1234, 0xff01)); got != "0800e6c91234ff01" {
		t.Errorf("the request is %s", got)
	}
	const header = "4500001c0000000040010000c633640ac63364c9"
	const longer = "4600002000000000400100" + "00c633640ac63364c994040000"
	for packet, want := range map[string]bool{
		header + "0000eec91234ff01": true, longer + "0000eec91234ff01": true,
		header + "0000eec91235ff01": false, header + "0800e6c91234ff01": false, header + "0000eec91234": false, header: false, "": false,
	} {
		raw, err := hex.DecodeString(packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := isEchoReply(raw, 0x1234); got != want {
			t.Errorf("%q is a reply: %t", packet, got)
		}
	}
}
