package libvirt

import (
	"context"
	"encoding/xml"

	lv "libvirt.org/go/libvirt"
)

// MachineType implements hypervisor.Host. The definition is read without its secrets.
func (c *Client) MachineType(ctx context.Context, uuid string) (string, error) {
	return onDomain(ctx, c, "reading the machine type", uuid, func(domain *lv.Domain) (string, error) {
		text, err := domain.GetXMLDesc(0)
		if err != nil {
			return "", err
		}
		return machineType(text)
	})
}

// machineType reads the machine type from a definition.
func machineType(definition string) (string, error) {
	var domain struct {
		Type struct {
			Machine string `xml:"machine,attr"`
		} `xml:"os>type"`
	}
	err := xml.Unmarshal([]byte(definition), &domain)
	return domain.Type.Machine, err
}
