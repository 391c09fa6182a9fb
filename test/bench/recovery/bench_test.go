//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSettingsAreThoseOfTheDocumentation has the figures be about what administrators are told to set.
func TestSettingsAreThoseOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	all := settings()
	for _, s := range all[1:] {
		for name, value := range s.sysctls {
			if all[0].sysctls[name] == value {
				continue // As by default.
			}
			line := fmt.Sprintf("%s = %s\n", name, value)
			if !strings.Contains(string(page), line) {
				t.Errorf("docs/install.md does not recommend %q", line)
			}
		}
	}
}
