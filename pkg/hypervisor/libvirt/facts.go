package libvirt

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const opFacts = "reading facts of the host"

// HostFacts implements hypervisor.Host. Each group is a call of its own, so that one part of
// libvirt that fails, or hangs, hides none of the others.
func (c *Client) HostFacts(ctx context.Context, groups ...hypervisor.FactGroup) (hypervisor.HostFacts, error) {
	facts := hypervisor.HostFacts{Errors: map[hypervisor.FactGroup]error{}}
	for _, group := range append(hypervisor.FactGroups(), hypervisor.FactsHostDevices) {
		if !slices.Contains(groups, group) {
			continue
		}
		err := c.readGroup(ctx, group, &facts)
		if kind := hypervisor.KindOf(err); kind == hypervisor.KindConnectionLost || kind == hypervisor.KindCanceled {
			return hypervisor.HostFacts{}, err
		}
		if err != nil {
			facts.Errors[group] = err
		}
	}
	facts.Socket = socketName(c.current())
	return facts, nil
}

// socketName returns the name of the socket to which a URI leads; empty where it names none.
func socketName(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.Query().Get("socket") != "" {
		return path.Base(u.Query().Get("socket"))
	}
	return ""
}

func (c *Client) readGroup(ctx context.Context, group hypervisor.FactGroup, facts *hypervisor.HostFacts) (err error) {
	switch group {
	case hypervisor.FactsCapabilities:
		facts.Capabilities, err = ask(ctx, c, group, c.readCapabilities)
	case hypervisor.FactsOfferedCPUs:
		facts.OfferedCPUs, err = ask(ctx, c, group, c.readOfferedCPUs)
	case hypervisor.FactsMemory:
		facts.Memory, err = ask(ctx, c, group, c.readMemory)
	case hypervisor.FactsNetworks:
		facts.Networks, err = ask(ctx, c, group, readNetworks)
	case hypervisor.FactsBridges:
		facts.Bridges, err = ask(ctx, c, group, readBridges)
	case hypervisor.FactsStoragePools:
		facts.StoragePools, err = ask(ctx, c, group, readPools)
	case hypervisor.FactsMediatedDevices:
		facts.MediatedTypes, err = ask(ctx, c, group, readMediatedTypes)
	case hypervisor.FactsHostDevices:
		facts.Devices, err = ask(ctx, c, group, readHostDevices)
	}
	return err
}

// ask reads a group, with the group as the subject of the call: a part of libvirt that hangs
// is not asked more than twice.
func ask[T any](ctx context.Context, c *Client, group hypervisor.FactGroup, fn func(*lv.Connect) (T, error)) (T, error) {
	return callOn(ctx, c, opFacts, "facts: "+string(group), func(l *link) (T, error) {
		value, err := fn(l.conn)
		if err == nil {
			return value, nil
		}
		if alive, aliveErr := l.conn.IsAlive(); aliveErr != nil || !alive {
			return value, err
		}
		stale, err := ofPart(err)
		if stale {
			c.log.Info("Connecting to libvirt anew, because a part of it was restarted", "part", group)
			l.markLost()
		}
		return value, err
	})
}

// ofPart tells an error of the connection between a daemon that answers and another one of
// libvirt's from others; stale is as for ofSecretDriver.
func ofPart(err error) (stale bool, _ error) {
	var e lv.Error
	if !errors.As(err, &e) || kindOf(e) != hypervisor.KindConnectionLost {
		return false, err
	}
	return e.Code == lv.ERR_INTERNAL_ERROR, fault(opFacts, hypervisor.KindOther, sanitize(messageOf(e)))
}

// capabilities returns what was read last, which is read for the first time where need be.
func (c *Client) capabilities(conn *lv.Connect) (*hypervisor.HostCapabilities, error) {
	if known := c.host.Load(); known != nil {
		return known, nil
	}
	return c.readCapabilities(conn)
}

func (c *Client) readCapabilities(conn *lv.Connect) (*hypervisor.HostCapabilities, error) {
	text, err := conn.GetCapabilities()
	if err != nil {
		return nil, err
	}
	host, err := parseCapabilities(text)
	if err == nil {
		c.host.Store(host)
	}
	return host, err
}

// readOfferedCPUs asks what guests of the host's own architecture may have, as fast as they
// can be run here.
func (c *Client) readOfferedCPUs(conn *lv.Connect) (*hypervisor.OfferedCPUs, error) {
	host, err := c.capabilities(conn)
	if err != nil {
		return nil, err
	}
	var domainType string
	for _, a := range host.Architectures {
		if a.Name == host.CPU.Architecture && slices.Contains(a.DomainTypes, kvm) {
			domainType = kvm
		}
	}
	text, err := conn.GetDomainCapabilities("", host.CPU.Architecture, "", domainType, 0)
	if err != nil {
		return nil, err
	}
	return parseOfferedCPUs(text)
}

// readMemory reads how much memory is free.
func (c *Client) readMemory(conn *lv.Connect) ([]hypervisor.CellMemory, error) {
	host, err := c.capabilities(conn)
	if err != nil {
		return nil, err
	}
	out := make([]hypervisor.CellMemory, 0, len(host.Cells))
	for _, cell := range host.Cells {
		memory := hypervisor.CellMemory{ID: cell.ID, FreePages: map[uint64]uint64{}}
		free, err := conn.GetCellsFreeMemory(cell.ID, 1)
		if err != nil {
			return nil, err
		}
		for _, bytes := range free {
			memory.FreeBytes = bytes
		}
		sizes := make([]uint64, 0, len(cell.HugePages))
		for _, p := range cell.HugePages {
			sizes = append(sizes, p.SizeBytes>>10)
		}
		if len(sizes) > 0 {
			counts, err := conn.GetFreePages(sizes, cell.ID, 1, 0)
			if err != nil {
				return nil, err
			}
			for i, count := range counts {
				memory.FreePages[sizes[i]<<10] = count
			}
		}
		out = append(out, memory)
	}
	return out, nil
}

func readNetworks(conn *lv.Connect) ([]hypervisor.Network, error) {
	handles, err := conn.ListAllNetworks(0)
	if err != nil {
		return nil, err
	}
	return each(handles, (*lv.Network).Free, func(handle *lv.Network) (hypervisor.Network, error) {
		active, err := handle.IsActive()
		if err != nil {
			return hypervisor.Network{}, err
		}
		text, err := handle.GetXMLDesc(0)
		if err != nil {
			return hypervisor.Network{}, err
		}
		network, err := parseNetwork(text)
		network.Active = active
		return network, err
	}, lv.ERR_NO_NETWORK)
}

func readBridges(conn *lv.Connect) ([]string, error) {
	handles, err := conn.ListAllInterfaces(0)
	if err != nil {
		return nil, err
	}
	names, err := each(handles, (*lv.Interface).Free, func(handle *lv.Interface) (string, error) {
		name, err := handle.GetName()
		if err != nil || hypervisor.IsGuestPort(name) {
			return "", err
		}
		text, err := handle.GetXMLDesc(0)
		if err != nil {
			return "", err
		}
		return parseBridge(text)
	}, lv.ERR_NO_INTERFACE)
	bridges := slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(bridges)
	return bridges, err
}

// readPools reads the storage pools without having libvirt look at what is behind them: that
// would read each volume, and hang with storage that does not respond.
func readPools(conn *lv.Connect) ([]hypervisor.StoragePool, error) {
	handles, err := conn.ListAllStoragePools(0)
	if err != nil {
		return nil, err
	}
	pools, err := each(handles, (*lv.StoragePool).Free, func(handle *lv.StoragePool) (hypervisor.StoragePool, error) {
		info, err := handle.GetInfo()
		if err != nil {
			return hypervisor.StoragePool{}, err
		}
		text, err := handle.GetXMLDesc(0)
		if err != nil {
			return hypervisor.StoragePool{}, err
		}
		pool, err := parsePool(text, info.State == lv.STORAGE_POOL_RUNNING || info.State == lv.STORAGE_POOL_DEGRADED)
		pool.State = poolState(info.State)
		return pool, err
	}, lv.ERR_NO_STORAGE_POOL)
	return slices.DeleteFunc(pools, isOwnPool), err
}

// isOwnPool reports whether a pool is there for a call of ours only.
func isOwnPool(pool hypervisor.StoragePool) bool { return strings.HasPrefix(pool.Name, ownPools) }

func readMediatedTypes(conn *lv.Connect) ([]hypervisor.MediatedType, error) {
	handles, err := conn.ListAllNodeDevices(lv.CONNECT_LIST_NODE_DEVICES_CAP_MDEV_TYPES)
	if err != nil {
		return nil, err
	}
	all, err := each(handles, (*lv.NodeDevice).Free, func(handle *lv.NodeDevice) ([]hypervisor.MediatedType, error) {
		text, err := handle.GetXMLDesc(0)
		if err != nil {
			return nil, err
		}
		return parseMediatedTypes(text)
	}, lv.ERR_NO_NODE_DEVICE)
	return sumTypes(slices.Concat(all...)), err
}

// each calls fn for handles until it fails, and frees them all. What is gone meanwhile, which
// libvirt says by the given code, is left out.
func each[H, T any](handles []H, free func(*H) error, fn func(*H) (T, error), gone lv.ErrorNumber) ([]T, error) {
	out := make([]T, 0, len(handles))
	var failed error
	for i := range handles {
		if failed == nil {
			value, err := fn(&handles[i])
			switch {
			case err == nil:
				out = append(out, value)
			case !errors.Is(err, gone):
				failed = err
			}
		}
		// It fails only for a handle that is none.
		_ = free(&handles[i])
	}
	return out, failed
}
