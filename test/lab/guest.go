//go:build linux

package lab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Kernel and program of a guest take some 64 MiB beside its working set: with just
// that, one guest of some hundreds panics when it boots.
const (
	// besideWorkingSetMiB is the least that a guest has beside its working set.
	besideWorkingSetMiB   = 96
	defaultGuestMemoryMiB = 128
)

// GuestConfig says what a guest is. Only Name is needed.
type GuestConfig struct {
	Name       string
	UUID       string        // Empty means a new one.
	MemoryMiB  int           // 0 means 128 or what the working set takes, and 16 for a tiny guest.
	VCPUs      int           // 0 means 1.
	Machine    string        // Empty means pc-i440fx-7.2, which all generations have.
	Persistent bool          // Defined, then started; otherwise it is gone when it ends.
	TickPeriod time.Duration // 0 means a second.
	Load       Load
	// Tiny makes a guest that boots at once, ticks once a second, holds 8 MiB that
	// cannot be compressed, and does nothing else: dozens of them need little. It has
	// no other load, and takes no commands.
	Tiny bool
	// TCPSerials are TCP ports on the host's address, each of which is bound to a
	// serial port of the guest; there may be two.
	TCPSerials []int
	VNC        *VNC // Nil means no console.
	Disks      []Disk
	NICs       []NIC
	// ExtraXML is put into <domain>, ExtraDevices into <devices>, and ExtraOS into <os>, as
	// they are.
	ExtraXML, ExtraDevices, ExtraOS string
	// KernelWords are added to the kernel's command line.
	KernelWords []string
	// Agent gives the guest a guest agent, at the end of a channel to it.
	Agent    bool
	Firmware string // "efi" has libvirt choose a firmware; empty is the emulator's own.
}

// Load is what the guest's program does besides ticking.
type Load struct {
	WorkingSetMiB int    // Memory that is filled with noise, and written to.
	DirtyMiBps    int    // Rate of the writes; each page written counts whole.
	Pattern       string // "uniform", the default, or "hotspot": 90 % of the writes go to 10 % of the memory.
	DiskMiBps     int    // Rate of writes to the first disk.
}

// VNC is a console on the host's own address, on a port that libvirt chooses.
type VNC struct {
	Password string // Empty means none.
}

// Disk is a virtio disk on an image file.
type Disk struct {
	Path    string // Inside the host: below SharedDir or PrivateDir.
	SizeMiB int    // An image that does not exist is made this large.
	Format  string // "raw", the default, or "qcow2".
	Target  string // Empty means vda, vdb, and so on.
	Serial  string // Empty means none.
}

// NIC is a virtio network card. The guest's program uses none but the first, and that one
// only if it has an address.
type NIC struct {
	Bridge string // Empty means GuestBridge.
	MAC    string // Empty means that libvirt chooses.
	// Address is at which the guest answers its peers, see Peer. It is of GuestNetwork; no
	// other guest may have it at the same time.
	Address netip.Addr
}

// Guest is a guest of the lab, wherever it runs. Two guests of one name would
// share their consoles' files, so names must differ, on whatever hosts.
type Guest struct {
	lab   *Lab
	name  string
	uuid  string
	ticks *Ticks
}

// Name is the domain's name.
func (g *Guest) Name() string { return g.name }

// UUID is the domain's UUID.
func (g *Guest) UUID() string { return g.uuid }

// Ticks is the record of the guest's heartbeat on all hosts.
func (g *Guest) Ticks() *Ticks { return g.ticks }

// StartGuest starts a guest on the host and follows its ticks on all hosts. It
// returns when libvirt has started the guest; Ticks().Wait tells when it is up,
// about three seconds later.
func (h *Host) StartGuest(ctx context.Context, config GuestConfig) (*Guest, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := h.makeDisks(ctx, config.Disks); err != nil {
		return nil, fmt.Errorf("making the disks of %s: %w", config.Name, err)
	}
	definition, err := domainXML(config, h.Address())
	if err != nil {
		return nil, err
	}
	g := &Guest{lab: h.lab, name: config.Name, uuid: config.UUID}
	if g.ticks, err = h.lab.follow(g); err != nil {
		return nil, err
	}
	if err := h.startDomain(ctx, config, definition); err != nil {
		h.lab.unfollow(g)
		return nil, fmt.Errorf("starting guest %s: %w", config.Name, err)
	}
	return g, nil
}

// follow registers a guest and follows its consoles on all hosts.
func (l *Lab) follow(g *Guest) (*Ticks, error) {
	ticks, err := followTicks(g.name)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	g.ticks = ticks
	l.guests = append(l.guests, g)
	hosts := l.hosts
	l.mu.Unlock()
	for _, h := range hosts {
		if err := ticks.follow(h); err != nil {
			return nil, err
		}
	}
	return ticks, nil
}

// unfollow undoes follow; what was recorded stays.
func (l *Lab) unfollow(g *Guest) {
	g.ticks.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guests = slices.DeleteFunc(slices.Clone(l.guests), func(other *Guest) bool { return other == g })
}

// startDomain gives libvirt the definition and starts it.
func (h *Host) startDomain(ctx context.Context, config GuestConfig, definition string) error {
	file, err := h.lab.writeTemp(config.Name+"-*.xml", definition)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if !config.Persistent {
		_, err := h.Virsh(ctx, "create", file)
		return err
	}
	if _, err := h.Virsh(ctx, "define", file); err != nil {
		return err
	}
	_, err = h.Virsh(ctx, "start", config.Name)
	return err
}

// writeTemp writes a file for virsh into the state directory and returns its path.
func (l *Lab) writeTemp(pattern, content string) (string, error) {
	f, err := os.CreateTemp(l.dir, pattern)
	if err != nil {
		return "", fmt.Errorf("making a temporary file: %w", err)
	}
	_, err = f.WriteString(content)
	return f.Name(), errors.Join(err, f.Close())
}

// withDefaults fills in what the configuration leaves open, and checks the rest.
func (c GuestConfig) withDefaults() (GuestConfig, error) {
	if c.Name == "" || strings.ContainsAny(c.Name, "/ ") {
		return c, fmt.Errorf("checking a guest: %q is no name", c.Name)
	}
	if len(c.TCPSerials) > maxTCPSerials {
		return c, fmt.Errorf("checking guest %s: there are %d free serial ports, not %d", c.Name, maxTCPSerials, len(c.TCPSerials))
	}
	if err := c.checkAddresses(); err != nil {
		return c, fmt.Errorf("checking guest %s: %w", c.Name, err)
	}
	if c.UUID == "" {
		c.UUID = uuid.NewString()
	}
	if c.Tiny && (c.TickPeriod != 0 || c.Load != (Load{}) || len(c.KernelWords) > 0) {
		return c, fmt.Errorf("checking guest %s: a tiny guest has its own period and load, and no kernel", c.Name)
	}
	if err := c.setMemory(); err != nil {
		return c, fmt.Errorf("checking guest %s: %w", c.Name, err)
	}
	c.VCPUs = max(c.VCPUs, 1)
	c.Machine = cmp.Or(c.Machine, machineType)
	return c.withDevices(), nil
}

// setMemory fills in the memory, and refuses what the guest cannot boot with.
func (c *GuestConfig) setMemory() error {
	least := c.Load.WorkingSetMiB + besideWorkingSetMiB
	switch {
	case c.MemoryMiB == 0 && c.Tiny:
		c.MemoryMiB = tinyMemoryMiB
	case c.MemoryMiB == 0:
		c.MemoryMiB = max(defaultGuestMemoryMiB, least)
	case !c.Tiny && c.MemoryMiB < least:
		return fmt.Errorf("a working set of %d MiB needs %d MiB of memory, not %d", c.Load.WorkingSetMiB, least, c.MemoryMiB)
	}
	return nil
}

// checkAddresses refuses addresses that the guest would not have.
func (c GuestConfig) checkAddresses() error {
	for i, nic := range c.NICs {
		if nic.Address.IsValid() && (i > 0 || c.Tiny || !GuestNetwork.Contains(nic.Address)) {
			return fmt.Errorf("only the first network card may have an address, of %s, and none of a tiny guest", GuestNetwork)
		}
	}
	return nil
}

// withDevices fills in what the configuration of the devices leaves open.
func (c GuestConfig) withDevices() GuestConfig {
	c.Disks = slices.Clone(c.Disks)
	for i := range c.Disks {
		d := &c.Disks[i]
		if d.Format == "" {
			d.Format = "raw"
		}
		if d.Target == "" {
			d.Target = fmt.Sprintf("vd%c", 'a'+i)
		}
	}
	c.NICs = slices.Clone(c.NICs)
	for i := range c.NICs {
		if c.NICs[i].Bridge == "" {
			c.NICs[i].Bridge = GuestBridge
		}
	}
	return c
}

// makeDisks makes the image files that do not exist yet.
func (h *Host) makeDisks(ctx context.Context, disks []Disk) error {
	for _, d := range disks {
		if err := h.MakeDisk(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// MakeDisk makes a disk's image on the host unless it exists.
func (h *Host) MakeDisk(ctx context.Context, d Disk) error {
	path := h.Path(d.Path)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making a directory for %s: %w", d.Path, err)
	}
	format := d.Format
	if format == "" {
		format = "raw"
	}
	_, err := h.Exec(ctx, "qemu-img", "create", "-q", "-f", format, d.Path, strconv.Itoa(d.SizeMiB)+"M")
	return err
}

// Command sends one line to the guest's program on the host where it runs and
// returns the answer. The guest knows: ping, dirty MIBPS, pattern NAME, diskrate
// MIBPS, clock [SECONDS], agent deaf, agent log, poweroff, reboot, panic.
func (g *Guest) Command(ctx context.Context, h *Host, line string) (string, error) {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", h.Path(controlPath(g.name)))
	if err != nil {
		return "", fmt.Errorf("reaching guest %s on %s: %w", g.name, h.name, err)
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	defer stop()
	tag := uuid.NewString()[:8]
	if _, err := fmt.Fprintf(connection, "\n%s %s\n", tag, line); err != nil {
		return "", fmt.Errorf("asking guest %s: %w", g.name, err)
	}
	answers := bufio.NewScanner(connection)
	for answers.Scan() {
		answer, ours := strings.CutPrefix(strings.TrimSpace(answers.Text()), tag+" ")
		if !ours {
			continue // To someone who did not wait for it.
		}
		verdict, rest, _ := strings.Cut(answer, " ")
		if verdict != "ok" {
			return "", fmt.Errorf("asking guest %s for %q: %s", g.name, line, answer)
		}
		return rest, nil
	}
	err = errors.Join(ctx.Err(), answers.Err())
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return "", fmt.Errorf("asking guest %s for %q: %w", g.name, line, err)
}
