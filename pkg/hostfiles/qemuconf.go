package hostfiles

import (
	"io/fs"
	"strconv"
	"strings"
)

// QEMUConfig is what libvirt's configuration for QEMU says of migrations. What is empty is
// left to libvirt.
type QEMUConfig struct {
	// MigrationPorts is the range on which guests arrive.
	MigrationPortMin, MigrationPortMax uint16
	// TLSDir and MigrationTLSDir are where certificates are, for everything and for
	// migrations.
	TLSDir, MigrationTLSDir string
}

// The ports on which guests arrive unless the configuration says something else.
const (
	defaultPortMin = 49152
	defaultPortMax = 49215
)

// ReadQEMUConfig reads the configuration; nil where it cannot be read.
func ReadQEMUConfig(host fs.FS) *QEMUConfig {
	const name = "etc/libvirt/qemu.conf"
	if !exists(host, "etc/libvirt") {
		return nil
	}
	text, err := read(host, name)
	if err != nil && !isMissing(host, name, err) {
		return nil
	}
	return parseQEMUConfig(text)
}

// parseQEMUConfig reads the lines that matter; of a setting that is there twice, libvirt takes
// the last.
func parseQEMUConfig(text string) *QEMUConfig {
	c := &QEMUConfig{MigrationPortMin: defaultPortMin, MigrationPortMax: defaultPortMax}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "migration_port_min":
			setPort(&c.MigrationPortMin, value)
		case "migration_port_max":
			setPort(&c.MigrationPortMax, value)
		case "default_tls_x509_cert_dir":
			c.TLSDir = quoted(value)
		case "migrate_tls_x509_cert_dir":
			c.MigrationTLSDir = quoted(value)
		}
	}
	return c
}

func setPort(port *uint16, value string) {
	value, _, _ = strings.Cut(value, "#")
	if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16); err == nil {
		*port = uint16(n)
	}
}

// quoted returns a text without its quotes, and without what follows it.
func quoted(value string) string {
	if value == "" || value[0] != '"' && value[0] != '\'' {
		return ""
	}
	text, _, _ := strings.Cut(value[1:], value[:1])
	return text
}
