//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/libvirt"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

// Who moves the guest.
const (
	byVirsh         = "virsh migrate"
	byLiveMigration = "LiveMigration"
)

// move is a measured move.
type move struct {
	by, from, to string
	total        time.Duration
	// steps and visible belong to a LiveMigration; see liveMigration.
	steps   []step
	visible time.Duration
}

// step is a part of a move.
type step struct {
	name string
	took time.Duration
}

// mover moves the guest.
type mover func(ctx context.Context, from, to *lab.Host) (move, error)

// bench is a lab with a guest to be moved.
type bench struct {
	*shuttle.Bench
	encrypt bool
	clients map[string]*libvirt.Client
	close   func()
}

func newBench(ctx context.Context, shared *shuttle.Bench, encrypt bool) (*bench, error) {
	b := &bench{Bench: shared, encrypt: encrypt, clients: map[string]*libvirt.Client{}}
	running, stop := context.WithCancel(context.Background())
	b.close = stop
	for _, h := range b.Lab.Hosts() {
		c, err := libvirt.New(libvirt.Config{URI: h.LibvirtURI()})
		if err != nil {
			stop()
			return nil, err
		}
		go func() { _ = c.Run(running) }() // It ends with its context.
		b.clients[h.Name()] = c
	}
	err := b.StartGuest(ctx, lab.GuestConfig{
		Name: "shuttle", Persistent: true, VNC: &lab.VNC{}, TCPSerials: []int{17001}, Load: lab.Load{WorkingSetMiB: 32},
	})
	if err != nil {
		stop()
		return nil, err
	}
	return b, nil
}

// move moves the guest to the host where it is not and waits until everything is
// at rest again.
func (b *bench) move(ctx context.Context, do mover, pause time.Duration) (move, error) {
	from, to := b.Sides()
	b.Moves++
	if err := from.WaitPublished(ctx, b.Guest); err != nil {
		return move{}, err
	}
	if err := shuttle.Sleep(ctx, pause); err != nil {
		return move{}, err
	}
	m, err := do(ctx, from, to)
	if err != nil {
		return m, err
	}
	if on := b.Guest.RunningOn(ctx); on != to {
		return m, fmt.Errorf("the guest does not run on %s afterwards", to.Name())
	}
	m.from, m.to = from.Name(), to.Name()
	return m, nil
}

// virsh moves the guest as virsh does, given the XML that a LiveMigration would
// give.
func (b *bench) virsh(ctx context.Context, from, to *lab.Host) (move, error) {
	live, err := b.rewritten(ctx, from, to, hypervisor.XMLMigratable)
	if err != nil {
		return move{}, err
	}
	persistent, err := b.rewritten(ctx, from, to, hypervisor.XMLInactive)
	if err != nil {
		return move{}, err
	}
	args := []string{"migrate", "--live", "--p2p", "--persistent", "--undefinesource", "--xml", live, "--persistent-xml", persistent}
	if b.encrypt {
		args = append(args, "--tls")
	}
	begin := time.Now()
	_, err = from.Virsh(ctx, append(args, b.Guest.UUID(), "qemu+tcp://"+to.Address()+"/system", "tcp://"+to.Address())...)
	return move{by: byVirsh, total: time.Since(begin)}, err
}

// rewritten writes the guest's definition for the other host into a file.
func (b *bench) rewritten(ctx context.Context, from, to *lab.Host, form hypervisor.XMLForm) (string, error) {
	xml, err := b.clients[from.Name()].DomainXML(ctx, b.Guest.UUID(), form)
	if err != nil {
		return "", err
	}
	out, err := rewrite(xml, form, to.Address())
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.Lab.Dir(), fmt.Sprintf("shuttle-%d.xml", form))
	if err := os.WriteFile(path, out, 0o600); err != nil {
		return "", fmt.Errorf("writing the definition: %w", err)
	}
	return path, nil
}
