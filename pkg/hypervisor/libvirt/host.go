package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// HostInfo implements hypervisor.Host.
func (c *Client) HostInfo(ctx context.Context) (hypervisor.HostInfo, error) {
	return call(ctx, c, "reading the host", hostSubject, func(conn *lv.Connect) (hypervisor.HostInfo, error) {
		var info hypervisor.HostInfo
		text, err := conn.GetCapabilities()
		if err != nil {
			return info, err
		}
		var capabilities struct {
			UUID string `xml:"host>uuid"`
		}
		if err := xml.Unmarshal([]byte(text), &capabilities); err != nil {
			return info, errors.New("libvirt's capabilities are malformed")
		}
		info.UUID, info.Capabilities = capabilities.UUID, text
		if info.Hostname, err = conn.GetHostname(); err != nil {
			return info, err
		}
		library, err := conn.GetLibVersion()
		if err != nil {
			return info, err
		}
		emulator, err := conn.GetVersion()
		if err != nil {
			return info, err
		}
		info.LibvirtVersion, info.HypervisorVersion = dotted(library), dotted(emulator)
		return info, nil
	})
}

// dotted formats a version that libvirt packed into one number.
func dotted(version uint32) string {
	return fmt.Sprintf("%d.%d.%d", version/1_000_000, version/1_000%1_000, version%1_000)
}

// ListDomains implements hypervisor.Host. A domain that vanishes while the
// list is made is left out. It takes two requests and two more per domain,
// none of which waits for a guest's job, and all of which libvirtd serves with its
// priority workers where migrations occupy all others. libvirt's bulk statistics
// would be fewer requests, but may wait for both. A guest whose lock libvirt holds for
// ever, as for storage that does not respond, holds the list up all the same.
func (c *Client) ListDomains(ctx context.Context) ([]hypervisor.Domain, error) {
	return call(ctx, c, "listing domains", listSubject, listDomains)
}

func listDomains(conn *lv.Connect) ([]hypervisor.Domain, error) {
	persistent := map[string]bool{}
	err := eachDomain(conn, lv.CONNECT_LIST_DOMAINS_PERSISTENT, func(handle *lv.Domain) error {
		uuid, err := handle.GetUUIDString()
		persistent[uuid] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	var domains []hypervisor.Domain
	err = eachDomain(conn, 0, func(handle *lv.Domain) error {
		domain, err := describe(handle)
		if errors.Is(err, lv.ERR_NO_DOMAIN) {
			return nil
		}
		domain.Persistent = persistent[domain.UUID]
		domains = append(domains, domain)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(domains, func(a, b hypervisor.Domain) int { return strings.Compare(a.Name, b.Name) })
	return domains, nil
}

// eachDomain calls fn for every domain that the flags select until it fails.
func eachDomain(conn *lv.Connect, flags lv.ConnectListAllDomainsFlags, fn func(*lv.Domain) error) error {
	handles, err := conn.ListAllDomains(flags)
	if err != nil {
		return err
	}
	for i := range handles {
		if err == nil {
			err = fn(&handles[i])
		}
		// It fails only for a handle that is none.
		_ = handles[i].Free()
	}
	return err
}

// LookupDomain implements hypervisor.Host. As with ListDomains, none of its
// requests needs a worker that migrations may occupy.
func (c *Client) LookupDomain(ctx context.Context, uuid string) (hypervisor.Domain, error) {
	return onDomain(ctx, c, "looking up the domain", uuid, func(handle *lv.Domain) (hypervisor.Domain, error) {
		domain, err := describe(handle)
		if err != nil {
			return domain, err
		}
		domain.Persistent, err = handle.IsPersistent()
		return domain, err
	})
}

// describe reads all of a domain but whether it is persistent.
func describe(handle *lv.Domain) (hypervisor.Domain, error) {
	var domain hypervisor.Domain
	var err error
	if domain.UUID, err = handle.GetUUIDString(); err != nil {
		return domain, err
	}
	if domain.Name, err = handle.GetName(); err != nil {
		return domain, err
	}
	state, reason, err := handle.GetState()
	if err != nil {
		return domain, err
	}
	domain.State, domain.Reason = stateOf(state, reason)
	if id, err := handle.GetID(); err == nil && domain.Active() {
		domain.ID = int64(id) //nolint:gosec // libvirt counts in 31 bits.
	}
	kibibytes, err := handle.GetMaxMemory()
	if err != nil {
		return domain, err
	}
	domain.MemoryBytes = kibibytes * 1024
	return domain, nil
}

// DomainXML implements hypervisor.Migrator.
func (c *Client) DomainXML(ctx context.Context, uuid string, form hypervisor.XMLForm) (hypervisor.DomainXML, error) {
	const op = "reading the domain's definition"
	// Two forms go to a destination, which needs the secrets.
	flags := lv.DOMAIN_XML_SECURE
	switch form {
	case hypervisor.XMLMigratable:
		flags |= lv.DOMAIN_XML_MIGRATABLE
	case hypervisor.XMLInactive:
		flags |= lv.DOMAIN_XML_INACTIVE
	case hypervisor.XMLRunning:
		flags = 0
	default:
		return "", fault(op, hypervisor.KindOther, "unknown form of definition")
	}
	return onDomain(ctx, c, op, uuid, func(domain *lv.Domain) (hypervisor.DomainXML, error) {
		text, err := domain.GetXMLDesc(flags)
		return hypervisor.DomainXML(text), err
	})
}

// Ties implements hypervisor.Migrator.
func (c *Client) Ties(ctx context.Context, uuid string) (hypervisor.Ties, error) {
	return onDomain(ctx, c, "reading what ties the domain to its host", uuid, func(domain *lv.Domain) (hypervisor.Ties, error) {
		var ties hypervisor.Ties
		var err error
		if ties.Snapshots, err = domain.SnapshotNum(0); err != nil {
			return ties, err
		}
		checkpoints, err := domain.ListAllCheckpoints(0)
		for i := range checkpoints {
			// It fails only for a handle that is none.
			_ = checkpoints[i].Free()
		}
		ties.Checkpoints = len(checkpoints)
		if err == nil {
			ties.BlockJobs, err = blockJobs(domain)
		}
		return ties, err
	})
}

// blockJobs returns the disks of a domain that have a job.
func blockJobs(domain *lv.Domain) ([]string, error) {
	text, err := domain.GetXMLDesc(0)
	if err != nil {
		return nil, err
	}
	var definition struct {
		Disks []struct {
			Target struct {
				Name string `xml:"dev,attr"`
			} `xml:"target"`
		} `xml:"devices>disk"`
	}
	if err := parse(text, &definition); err != nil {
		return nil, err
	}
	var busy []string
	for _, d := range definition.Disks {
		if job, err := domain.GetBlockJobInfo(d.Target.Name, 0); err == nil && job.Type != lv.DOMAIN_BLOCK_JOB_TYPE_UNKNOWN {
			busy = append(busy, d.Target.Name)
		}
	}
	return busy, nil
}
