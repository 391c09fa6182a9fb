// Package applyconv turns status sections into the generated apply
// configurations that server-side apply wants.
package applyconv

import (
	"encoding/json"
	"fmt"
)

// To converts a section of the API into its apply configuration. Both have the
// same JSON form, in which the section's empty optional fields are left out. Nil
// stays nil.
func To[Config, Section any](section *Section) (*Config, error) {
	if section == nil {
		return nil, nil //nolint:nilnil // Absent stays absent.
	}
	raw, err := json.Marshal(section)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", section, err)
	}
	config := new(Config)
	if err := json.Unmarshal(raw, config); err != nil {
		return nil, fmt.Errorf("decoding into %T: %w", config, err)
	}
	return config, nil
}
