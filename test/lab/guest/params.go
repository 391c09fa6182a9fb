//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// params is what the kernel command line asks of the guest.
type params struct {
	period     time.Duration // virtferry.period: time between ticks, default 1s.
	dirtyMiBps int           // virtferry.dirty: memory to dirty, MiB/s; every page counts whole.
	wssMiB     int           // virtferry.wss: memory that is written to, MiB.
	hotPercent int           // virtferry.pattern: "uniform" is 0, "hotspot" sends 90 % of the writes to 10 % of the memory.
	disk       string        // virtferry.disk: block device to write to, such as /dev/vda.
	diskMiBps  int           // virtferry.diskrate: MiB/s written there.
	control    string        // virtferry.control: serial port to read commands from.
	agent      string        // virtferry.agent: virtio port at which a guest agent serves the host.
	address    netip.Prefix  // virtferry.address: IPv4 address of the first network card, such as 198.51.100.11/24.
}

// hotspotPercent is the share of the writes that the hotspot pattern sends to
// the first tenth of the working set.
const hotspotPercent = 90

// parseParams reads the virtferry.* words of a kernel command line. Other words
// belong to the kernel and are left alone; an unknown virtferry.* word is an
// error, so that a misspelt one does not silently test nothing.
func parseParams(cmdline string) (params, error) {
	p := params{period: time.Second}
	for word := range strings.FieldsSeq(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		name, ours := strings.CutPrefix(key, "virtferry.")
		if !ours {
			continue
		}
		if err := p.set(name, value); err != nil {
			return params{}, fmt.Errorf("parsing %q: %w", word, err)
		}
	}
	return p, nil
}

// set takes one parameter.
func (p *params) set(name, value string) (err error) {
	switch name {
	case "period":
		p.period, err = time.ParseDuration(value)
		if err == nil && p.period <= 0 {
			err = errors.New("the period must be positive")
		}
	case "dirty":
		p.dirtyMiBps, err = strconv.Atoi(value)
	case "wss":
		p.wssMiB, err = strconv.Atoi(value)
	case "pattern":
		p.hotPercent, err = parsePattern(value)
	case "disk":
		p.disk = value
	case "diskrate":
		p.diskMiBps, err = strconv.Atoi(value)
	case "control":
		p.control = value
	case "agent":
		p.agent = value
	case "address":
		p.address, err = parseAddress(value)
	default:
		err = errors.New("no such parameter")
	}
	return err
}

// parseAddress reads an IPv4 address with the length of its network's prefix.
func parseAddress(text string) (netip.Prefix, error) {
	address, err := netip.ParsePrefix(text)
	if err == nil && !address.Addr().Is4() {
		err = errors.New("the address must be one of IPv4")
	}
	return address, err
}

// parsePattern returns the share of writes, in percent, that a pattern sends to
// its hot spot.
func parsePattern(name string) (int, error) {
	switch name {
	case "uniform":
		return 0, nil
	case "hotspot":
		return hotspotPercent, nil
	default:
		return 0, fmt.Errorf("pattern %q is neither uniform nor hotspot", name)
	}
}
