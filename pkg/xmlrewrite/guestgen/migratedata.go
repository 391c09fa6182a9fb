package guestgen

import v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"

// MigrateData returns what is to become of the guest.
func (c *Case) MigrateData() *v1alpha1.MigrateData {
	md := &v1alpha1.MigrateData{
		Graphics:   c.graphicsData(),
		Serial:     c.serialData(),
		Volumes:    []v1alpha1.VolumeMigrateData{},
		Interfaces: []v1alpha1.InterfaceMigrateData{},
		PerfEvents: []v1alpha1.PerfEvent{},
	}
	for i := range c.Disks {
		if c.Disks[i].Volume {
			md.Volumes = append(md.Volumes, c.Disks[i].volume())
		}
	}
	for i := range c.NICs {
		md.Interfaces = append(md.Interfaces, c.NICs[i].entry())
	}
	for _, event := range c.PerfSupported {
		md.PerfEvents = append(md.PerfEvents, v1alpha1.PerfEvent(event))
	}
	if c.FileWant {
		discard := v1alpha1.ToggleEnabled
		md.MemoryBacking = &v1alpha1.MemoryBackingMigrateData{FileBacking: v1alpha1.FileBackingRequired, Discard: &discard}
	} else {
		md.MemoryBacking = &v1alpha1.MemoryBackingMigrateData{FileBacking: v1alpha1.FileBackingNone}
	}
	if c.SharesRemoved {
		md.CPUShares = &v1alpha1.CPUSharesMigrateData{Policy: v1alpha1.CPUSharesRemove}
	}
	for _, n := range c.NVDIMMs {
		md.VirtualPMEM = append(md.VirtualPMEM, v1alpha1.VirtualPMEMMigrateData{Path: n.To})
	}
	if c.Pins != nil {
		md.NUMA = c.Pins.numa()
	}
	return md
}

// graphicsData returns addresses for the graphics that the guest has.
func (c *Case) graphicsData() *v1alpha1.GraphicsMigrateData {
	var data v1alpha1.GraphicsMigrateData
	for _, g := range c.Graphics {
		switch g.Type {
		case "vnc":
			data.VNCListenAddress = &c.VNC
		case "spice":
			data.SPICEListenAddress = &c.SPICE
		}
	}
	if data == (v1alpha1.GraphicsMigrateData{}) {
		return nil
	}
	return &data
}

// serialData returns what the serial ports of the guest listen on, if it has any.
func (c *Case) serialData() *v1alpha1.SerialMigrateData {
	if len(c.Serials) == 0 {
		return nil
	}
	return &v1alpha1.SerialMigrateData{ListenAddress: &c.SerialHost, Ports: append([]int32{}, c.Ports...)}
}

func (d *Disk) volume() v1alpha1.VolumeMigrateData {
	v := v1alpha1.VolumeMigrateData{Serial: &d.Serial, Source: &v1alpha1.VolumeSource{}}
	switch d.Kind {
	case "file":
		v.Source.File = &v1alpha1.PathSource{Path: d.Source.To}
	case "block":
		v.Source.Block = &v1alpha1.PathSource{Path: d.Source.To}
	default:
		port := int32(6789)
		v.Source.Network = &v1alpha1.NetworkVolumeSource{
			Protocol: v1alpha1.VolumeProtocol(d.Kind), Name: &d.Source.To,
			Hosts: []v1alpha1.VolumeHost{{Host: &d.Host.To, Port: &port}},
		}
		if d.Auth {
			secret := v1alpha1.UUID(d.Secret.To)
			v.Source.Network.Auth = &v1alpha1.VolumeAuth{Username: "cinder", SecretUUID: &secret}
		}
	}
	if d.Cache.From != d.Cache.To {
		cache := v1alpha1.CacheMode(d.Cache.To)
		v.Driver = &v1alpha1.VolumeDriver{Cache: &cache}
	}
	if d.Encryption.To != "" {
		secret := v1alpha1.UUID(d.Encryption.To)
		v.Encryption = &v1alpha1.VolumeEncryption{SecretUUID: &secret}
	}
	return v
}

func (n *NIC) entry() v1alpha1.InterfaceMigrateData {
	e := v1alpha1.InterfaceMigrateData{
		MACAddress: v1alpha1.MACAddress(n.MAC), Source: &v1alpha1.InterfaceSource{}, VirtualPort: &v1alpha1.VirtualPort{},
	}
	if n.Kind.To == "vhostuser" {
		e.Source.VhostUser = &v1alpha1.VhostUserInterfaceSource{Path: n.Source.To, Mode: "server"}
		return e
	}
	e.Source.Bridge = &v1alpha1.BridgeInterfaceSource{Name: n.Source.To}
	e.TargetDevice = &n.Tap.To
	if n.Kind.To == "ovs" {
		kind, id := v1alpha1.VirtualPortType("openvswitch"), v1alpha1.UUID(n.Port.To)
		e.VirtualPort = &v1alpha1.VirtualPort{Type: &kind, InterfaceID: &id}
	}
	return e
}

func (p *Pins) numa() *v1alpha1.NUMAMigrateData {
	emulator := v1alpha1.CPUSet(p.Emulator.To)
	md := &v1alpha1.NUMAMigrateData{EmulatorPin: &emulator}
	for i, pin := range p.VCPUs {
		md.VCPUPins = append(md.VCPUPins, v1alpha1.VCPUPin{VCPU: int32(i), HostCPUs: v1alpha1.CPUSet(pin.To)})
	}
	for i, cell := range p.Cells {
		md.CellPins = append(md.CellPins, v1alpha1.CellPin{Cell: int32(i), HostNodes: v1alpha1.CPUSet(cell.To)})
	}
	if rt := p.Realtime; rt != nil {
		vcpus, priority := v1alpha1.CPUSet(rt.VCPUs), int32(rt.Priority) //nolint:gosec // At most 99.
		md.Realtime = &v1alpha1.RealtimeMigrateData{VCPUs: &vcpus, Priority: &priority}
	}
	return md
}
