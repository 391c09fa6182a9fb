// Command release writes a packaged chart as an OCI layout, from which oras and skopeo
// copy it to a registry, where Helm finds it. The same chart makes the same bytes.
//
//	release CHART.tgz SECONDS DIRECTORY
//
// SECONDS is the time that the manifest bears, since 1970.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"sigs.k8s.io/yaml"
)

// What Helm calls the parts of a chart in a registry.
const (
	configType = "application/vnd.cncf.helm.config.v1+json"
	chartType  = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: release CHART.tgz SECONDS DIRECTORY")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, chartPath, seconds, directory string) error {
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("reading the time: %w", err)
	}
	chart, err := os.ReadFile(chartPath)
	if err != nil {
		return err
	}
	meta, err := metadata(chart)
	if err != nil {
		return fmt.Errorf("reading %s: %w", chartPath, err)
	}
	config, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	store, err := oci.New(directory)
	if err != nil {
		return err
	}
	configBlob, err := oras.PushBytes(ctx, store, configType, config)
	if err != nil {
		return err
	}
	chartBlob, err := oras.PushBytes(ctx, store, chartType, chart)
	if err != nil {
		return err
	}
	name, version := fmt.Sprint(meta["name"]), fmt.Sprint(meta["version"])
	manifest, err := oras.PackManifest(ctx, store, oras.PackManifestVersion1_1, configType, oras.PackManifestOptions{
		ConfigDescriptor: &configBlob, Layers: []ocispec.Descriptor{chartBlob},
		ManifestAnnotations: map[string]string{
			ocispec.AnnotationCreated: time.Unix(epoch, 0).UTC().Format(time.RFC3339),
			ocispec.AnnotationTitle:   name, ocispec.AnnotationVersion: version,
			ocispec.AnnotationDescription: fmt.Sprint(meta["description"]),
		},
	})
	if err != nil {
		return err
	}
	return store.Tag(ctx, manifest, version)
}

// metadata returns what Chart.yaml says.
func metadata(chart []byte) (map[string]any, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(chart))
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unpacked); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no Chart.yaml")
		}
		if err != nil {
			return nil, err
		}
		if dir, file := path.Split(header.Name); file != "Chart.yaml" || path.Clean(dir) != path.Base(dir) {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return nil, err
		}
		meta := map[string]any{}
		return meta, yaml.Unmarshal(text, &meta)
	}
}
