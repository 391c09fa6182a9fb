package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// graphicsAddress is the listen address of one type of graphics.
type graphicsAddress struct {
	field    string
	explicit *string
	offered  *string
	given    bool // The user gave one, be it good or bad.
}

// planGraphics makes graphics listen on the target's addresses. An address
// that the user gives applies to every listener on an address. One that the
// target offers applies only where the guest listens on an address that is the
// source host's own.
func planGraphics(p *planner) {
	addresses := p.graphicsAddresses()
	p.reportUnknownGraphics(addresses)
	for _, g := range p.devices("graphics") {
		p.checkPassword(g)
		p.moveFixedPorts(g)
		for i := range addresses {
			if addresses[i].kind == g.Value("type") {
				p.rewriteGraphics(g, addresses[i].graphicsAddress)
			}
		}
	}
}

// reportUnknownGraphics reports addresses for graphics that the guest does not have.
func (p *planner) reportUnknownGraphics(addresses [3]kindOfGraphics) {
	for _, a := range addresses {
		has := func(d *guest) bool {
			return slices.ContainsFunc(d.devices("graphics"), func(g *xmltree.Node) bool { return g.Value("type") == a.kind && takesAddress(g) })
		}
		if a.given && !has(p.doc) && !p.elsewhere(has) {
			p.report(ProblemNotFound, placeOf(a.field), nil, "the guest has no graphics of this type that listen on an address; remove the address")
		}
	}
}

const fixedPortsField = "graphics.fixedPorts"

// fixedPorts returns the attributes that give a port by number.
func fixedPorts(g *xmltree.Node) []string {
	var fixed []string
	for _, name := range [...]string{"port", "tlsPort", "websocket"} {
		byLibvirt := name != "websocket" && g.Value("autoport") == "yes"
		if !byLibvirt && !isOneOf(g.Value(name), "", "0", "-1") {
			fixed = append(fixed, name)
		}
	}
	return fixed
}

// moveFixedPorts decides on ports that the guest's definition gives by number.
func (p *planner) moveFixedPorts(g *xmltree.Node) {
	fixed := fixedPorts(g)
	var policy v1alpha1.FixedPorts
	if p.data.Graphics != nil {
		policy = v1alpha1.FixedPorts(stringOf(p.data.Graphics.FixedPorts))
	}
	if !p.checkOneOf(placeOf(fixedPortsField), string(policy), string(v1alpha1.FixedPortsKeep), string(v1alpha1.FixedPortsAutomatic)) || len(fixed) == 0 {
		return
	}
	switch policy {
	case v1alpha1.FixedPortsKeep:
	case v1alpha1.FixedPortsAutomatic:
		for _, name := range fixed {
			g.SetAttr(name, "-1")
		}
		// With it, libvirt would open a SPICE port without TLS where there was none. SPICE
		// gets just those that are -1.
		if g.HasAttr("port") && g.Value("type") != "spice" {
			g.SetAttr("autoport", "yes")
		}
	default:
		p.warn(placeOf(fixedPortsField), g, "the guest's graphics listen on ports that are given by number and kept; make sure that they are free on the target, or say Automatic to let libvirt choose others")
	}
}

type kindOfGraphics struct {
	kind string
	graphicsAddress
}

func (p *planner) graphicsAddresses() [3]kindOfGraphics {
	user, offer := p.data.Graphics, p.offer.Graphics
	if user == nil {
		user = &v1alpha1.GraphicsMigrateData{}
	}
	if offer == nil {
		offer = &v1alpha1.GraphicsMigrateData{}
	}
	address := func(kind, field string, explicit, offered *string) kindOfGraphics {
		field = "graphics." + field
		return kindOfGraphics{kind, graphicsAddress{
			field:    field,
			explicit: p.checkListenAddress(placeOf(field), explicit),
			offered:  offered,
			given:    explicit != nil,
		}}
	}
	return [3]kindOfGraphics{
		address("vnc", "vncListenAddress", user.VNCListenAddress, offer.VNCListenAddress),
		address("spice", "spiceListenAddress", user.SPICEListenAddress, offer.SPICEListenAddress),
		address("rdp", "rdpListenAddress", user.RDPListenAddress, offer.RDPListenAddress),
	}
}

// listener is one place that holds a listen address.
type listener struct {
	at        *xmltree.Node
	attribute string
	address   string
	mirror    bool // The older attribute beside a listen element.
}

// graphicsListeners returns where the device listens on an address: each
// listen element of that type, and the older attribute, which libvirt wants
// equal to the first listen element. Sockets, libvirt networks and graphics
// that listen nowhere are not among them.
func graphicsListeners(g *xmltree.Node) []listener {
	listens := g.Children("listen")
	var found []listener
	old, hasOld := g.Attr("listen")
	if hasOld && (len(listens) == 0 || listens[0].Value("type") == "address") {
		found = append(found, listener{g, "listen", old, len(listens) > 0})
	}
	for i, l := range listens {
		if l.Value("type") != "address" {
			continue
		}
		address := l.Value("address")
		if i == 0 && address == "" {
			address = old
		}
		found = append(found, listener{l, "address", address, false})
	}
	return found
}

// takesAddress reports whether graphics listen on an address, be it libvirt's default, and
// not on a socket, in a network of libvirt or nowhere.
func takesAddress(g *xmltree.Node) bool {
	return len(graphicsListeners(g)) > 0 || !g.HasAttr("socket") && g.Child("listen") == nil
}

func (p *planner) rewriteGraphics(g *xmltree.Node, a graphicsAddress) {
	listeners := graphicsListeners(g)
	if len(listeners) == 0 && a.explicit != nil && takesAddress(g) {
		g.Append(xmltree.NewElem("listen", "type", "address", "address", *a.explicit))
		return
	}
	for _, l := range listeners {
		switch {
		case a.explicit != nil:
			l.at.SetAttr(l.attribute, *a.explicit)
		case !a.given: // Else it is reported already.
			p.offerAddress(l, a)
		}
	}
}

// offerAddress gives a listener the address that the target offers, if the one
// it has is the source host's own.
func (p *planner) offerAddress(l listener, a graphicsAddress) {
	scope := scopeOf(l.address)
	switch {
	case scope == scopeHost && a.offered != nil:
		l.at.SetAttr(l.attribute, *a.offered)
	case l.mirror: // What there is to say is said of the listen element.
	case scope == scopeHost:
		p.report(ProblemMissingData, placeOf(a.field), l.at,
			"the guest's graphics listen on an address of the source host; give the target's")
	case scope != scopeUnset:
		p.warn(placeOf(a.field), l.at, "the guest's graphics listen on a wildcard or loopback address, which is kept; give an address here to change it")
	}
}

// maxVNCPassword is how many bytes of a password the VNC protocol has.
const maxVNCPassword = 8

// checkPassword refuses a VNC password that libvirt has refused since version 8.0. A
// guest that an older one started may have one.
func (p *planner) checkPassword(g *xmltree.Node) {
	if g.Value("type") == "vnc" && len(g.Value("passwd")) > maxVNCPassword && !p.target.libvirtBefore(8, 0) {
		p.report(ProblemConflict, nil, g,
			"the VNC password has more than "+itoa(maxVNCPassword)+" characters, which the target's libvirt refuses; ask an administrator to give the guest a shorter one with virsh update-device, --live and --config")
	}
}
