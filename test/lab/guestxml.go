//go:build linux

package lab

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"text/template"
)

// machineType is that of guests unless they say otherwise. It is fixed, so that they
// are the same whatever QEMU is newest, and one that all generations have.
const machineType = "pc-i440fx-7.2"

// controlSerial is the serial port on which guests take commands: the last one
// that a PC has, so that ports in between are free for tests.
const controlSerial = 3

// maxTCPSerials is how many serial ports lie between console and control.
const maxTCPSerials = controlSerial - 1

// domainTemplate is the guest's definition. The processor is emulated: a machine
// may have /dev/kvm and still be unable to run a guest.
var domainTemplate = template.Must(template.New("domain").Funcs(template.FuncMap{"xml": escape}).Parse(`<domain type='qemu'>
  <name>{{xml .Name}}</name>
  <uuid>{{xml .UUID}}</uuid>
  <memory unit='MiB'>{{.MemoryMiB}}</memory>
  <vcpu placement='static'>{{.VCPUs}}</vcpu>
  <os{{if .Firmware}} firmware='{{xml .Firmware}}'{{end}}>
    <type arch='x86_64' machine='{{xml .Machine}}'>hvm</type>
    <kernel>{{.Kernel}}</kernel>
{{- if not .Tiny}}
    <initrd>{{.Initrd}}</initrd>
    <cmdline>{{xml .CommandLine}}</cmdline>
{{- end}}
{{.ExtraOS}}
  </os>
  <features><acpi/></features>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
{{.ExtraXML}}
  <devices>
{{- range .Disks}}
    <disk type='file' device='disk'>
      <driver name='qemu' type='{{xml .Format}}' cache='none'/>
      <source file='{{xml .Path}}'/>
      <target dev='{{xml .Target}}' bus='virtio'/>
{{- if .Serial}}
      <serial>{{xml .Serial}}</serial>
{{- end}}
    </disk>
{{- end}}
{{- range .NICs}}
    <interface type='bridge'>
{{- if .MAC}}
      <mac address='{{xml .MAC}}'/>
{{- end}}
      <source bridge='{{xml .Bridge}}'/>
      <model type='virtio'/>
    </interface>
{{- end}}
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='{{xml .Console}}' append='on'/>
      <target type='isa-serial' port='0'/>
    </serial>
{{- $address := .Address}}
{{- range $port, $tcp := .TCPSerials}}
    <serial type='tcp'>
      <source mode='bind' host='{{$address}}' service='{{$tcp}}'/>
      <protocol type='raw'/>
      <target type='isa-serial' port='{{$.SerialPort $port}}'/>
    </serial>
{{- end}}
    <serial type='unix'>
      <source mode='bind' path='{{xml .Control}}'/>
      <target type='isa-serial' port='{{.ControlPort}}'/>
    </serial>
{{- if .VNC}}
    <graphics type='vnc' autoport='yes'{{if .VNC.Password}} passwd='{{xml .VNC.Password}}'{{end}}>
      <listen type='address' address='{{.Address}}'/>
    </graphics>
{{- end}}
{{- if .Agent}}
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
{{- end}}
    <memballoon model='none'/>
{{.ExtraDevices}}
  </devices>
</domain>
`))

// domainData is what the template sees.
type domainData struct {
	GuestConfig
	Address                          string
	Kernel, Initrd, Console, Control string
	CommandLine                      string
}

// SerialPort is the port of the n-th TCP serial; the console has port 0.
func (domainData) SerialPort(n int) int { return n + 1 }

// ControlPort is the port of the control socket.
func (domainData) ControlPort() int { return controlSerial }

// domainXML writes the definition of a guest for the host with this address.
func domainXML(config GuestConfig, address string) (string, error) {
	data := domainData{
		GuestConfig: config,
		Address:     address,
		Kernel:      filepath.Join(imageDir, KernelFile),
		Initrd:      filepath.Join(imageDir, InitrdFile),
		Console:     ConsolePath(config.Name),
		Control:     controlPath(config.Name),
		CommandLine: commandLine(config),
	}
	if config.Tiny {
		data.Kernel = filepath.Join(imageDir, TinyFile)
	}
	var out bytes.Buffer
	if err := domainTemplate.Execute(&out, data); err != nil {
		return "", fmt.Errorf("writing the definition of %s: %w", config.Name, err)
	}
	return out.String(), nil
}

// ConsolePath is a guest's console file inside every host.
func ConsolePath(guest string) string { return filepath.Join(consoleDir, guest+".log") }

// controlPath is a guest's control socket inside every host.
func controlPath(guest string) string { return filepath.Join(controlDir, guest+".sock") }

// commandLine is the kernel's, which also carries the parameters of the guest's
// program.
func commandLine(config GuestConfig) string {
	// The console is the heartbeat's: of the kernel's words only emergencies get
	// there, and not its complaints of a slow machine.
	words := []string{"console=ttyS0", "loglevel=1", "panic=-1", fmt.Sprintf("virtferry.control=/dev/ttyS%d", controlSerial)}
	add := func(set bool, name string, value any) {
		if set {
			words = append(words, fmt.Sprintf("virtferry.%s=%v", name, value))
		}
	}
	load := config.Load
	add(config.TickPeriod != 0, "period", config.TickPeriod)
	add(load.WorkingSetMiB != 0, "wss", load.WorkingSetMiB)
	add(load.DirtyMiBps != 0, "dirty", load.DirtyMiBps)
	add(load.Pattern != "", "pattern", load.Pattern)
	add(len(config.Disks) > 0, "disk", "/dev/vda")
	add(load.DiskMiBps != 0, "diskrate", load.DiskMiBps)
	add(config.Agent, "agent", "/dev/vport0p1")
	if len(config.NICs) > 0 && config.NICs[0].Address.IsValid() {
		add(true, "address", netip.PrefixFrom(config.NICs[0].Address, GuestNetwork.Bits()))
	}
	return strings.Join(append(words, config.KernelWords...), " ")
}

// escape makes a text safe inside XML.
func escape(s string) (string, error) {
	var out bytes.Buffer
	err := xml.EscapeText(&out, []byte(s))
	return out.String(), err
}
