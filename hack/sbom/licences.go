package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/licensecheck"
)

// ofModule returns the licences of a module, by their SPDX identifiers, from the texts below
// a directory, which hack/licences has put there. A text that is not known is an error:
// somebody has to read it.
func ofModule(directory string) (*cyclonedx.Licenses, error) {
	var found []string
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		// These go with a licence, and are none.
		if name := strings.ToLower(entry.Name()); strings.HasPrefix(name, "notice") || strings.HasPrefix(name, "patents") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		ids := identify(text)
		if len(ids) == 0 {
			return fmt.Errorf("%s is no text that is known", path)
		}
		found = append(found, ids...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("there is no text of one")
	}
	return licences(found, func(id string) *cyclonedx.License { return &cyclonedx.License{ID: id} }), nil
}

// identify returns the SPDX identifiers of the licences whose texts are in a text.
func identify(text []byte) []string {
	var out []string
	for _, match := range licensecheck.Scan(text).Match {
		out = append(out, match.ID)
	}
	return out
}

// ofPackage returns the licences that the copyright file of a package of Debian names, by
// the names that it has for them, which are not always SPDX's. Of a file that is not
// written for machines, it returns those whose texts are in it; there may be none, since
// Debian refers to common ones by their place.
func ofPackage(path string) (*cyclonedx.Licenses, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	if strings.HasPrefix(string(text), "Format:") {
		for line := range strings.Lines(string(text)) {
			if name, is := strings.CutPrefix(line, "License:"); is && strings.TrimSpace(name) != "" {
				names = append(names, strings.TrimSpace(name))
			}
		}
	} else {
		names = identify(text)
	}
	return licences(names, func(name string) *cyclonedx.License { return &cyclonedx.License{Name: name} }), nil
}

// licences returns each of these once, and nothing for none.
func licences(names []string, of func(string) *cyclonedx.License) *cyclonedx.Licenses {
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	out := cyclonedx.Licenses{}
	for _, name := range slices.Compact(names) {
		out = append(out, cyclonedx.LicenseChoice{License: of(name)})
	}
	return &out
}
