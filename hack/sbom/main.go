// Command sbom writes what is in an image, as a CycloneDX document: Debian's packages,
// and the Go modules that virtferry was built from, with their licences. It reads the
// image's files, and says the same of the same files every time.
//
//	sbom DIRECTORY VERSION >virtferry.cdx.json
package main

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom DIRECTORY VERSION")
		os.Exit(2)
	}
	document, err := describe(os.Args[1], os.Args[2])
	if err == nil {
		_, err = os.Stdout.Write(document)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// describe returns the document about the image of a version whose files are below root.
func describe(root, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(filepath.Join(root, "usr/local/bin/virtferry"))
	if err != nil {
		return nil, fmt.Errorf("reading what virtferry was built from: %w", err)
	}
	packages, err := debianPackages(root)
	if err != nil {
		return nil, err
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		BOMRef: "virtferry", Type: cyclonedx.ComponentTypeContainer, Name: "virtferry", Version: version,
		Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
	}}
	modules, err := goModules(root, info)
	if err != nil {
		return nil, err
	}
	components := append(packages, modules...)
	bom.Components = &components
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: "virtferry", Dependencies: &refs}}
	// The number follows from what is said, so that the same is said twice.
	said, err := encode(bom)
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, said).URN()
	return encode(bom)
}

func encode(bom *cyclonedx.BOM) ([]byte, error) {
	var b bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("writing the document: %w", err)
	}
	return b.Bytes(), nil
}

// goModules returns the toolchain and the modules in the order of their names.
func goModules(root string, info *buildinfo.BuildInfo) ([]cyclonedx.Component, error) {
	components := []cyclonedx.Component{component("golang/stdlib", strings.TrimPrefix(info.GoVersion, "go"), "stdlib", "")}
	texts := []string{"stdlib"}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		components = append(components, component("golang/"+m.Path, m.Version, m.Path, ""))
		texts = append(texts, m.Path+"@"+m.Version)
	}
	for i := range components {
		licences, err := ofModule(filepath.Join(root, "usr/share/doc/virtferry/third-party", filepath.FromSlash(texts[i])))
		if err != nil {
			return nil, fmt.Errorf("the licences of %s: %w", texts[i], err)
		}
		components[i].Licenses = licences
	}
	return components, nil
}

// debianPackages returns those whose descriptions the image has, by name.
func debianPackages(root string) ([]cyclonedx.Component, error) {
	paths, err := filepath.Glob(filepath.Join(root, "var/lib/dpkg/status.d/*"))
	if err != nil || len(paths) == 0 {
		return nil, errors.Join(err, errors.New("the image says of no package of Debian that it has it"))
	}
	components := make([]cyclonedx.Component, 0, len(paths))
	for _, path := range paths {
		fields, err := readFields(path)
		if err != nil {
			return nil, err
		}
		qualifiers := "?arch=" + fields["Architecture"] + "&distro=debian-12"
		c := component("deb/debian/"+fields["Package"], fields["Version"], fields["Package"], qualifiers)
		if c.Licenses, err = ofPackage(filepath.Join(root, "usr/share/doc", fields["Package"], "copyright")); err != nil {
			return nil, fmt.Errorf("the licences of %s: %w", fields["Package"], err)
		}
		components = append(components, c)
	}
	return components, nil
}

// component returns a library with its package URL.
func component(path, version, name, qualifiers string) cyclonedx.Component {
	purl := "pkg:" + path + "@" + url.PathEscape(version) + qualifiers
	return cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl}
}

// readFields reads the first lines of a package's fields.
func readFields(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ": "); ok {
			fields[key] = value
		}
	}
	for _, key := range []string{"Package", "Version", "Architecture"} {
		if fields[key] == "" {
			return nil, fmt.Errorf("%s has no field %s", path, key)
		}
	}
	return fields, nil
}
