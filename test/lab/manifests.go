//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldOwner owns what the lab applies.
const fieldOwner = client.FieldOwner("virtferry-lab")

// applyTimeout bounds how long one object may be refused for reasons that pass,
// such as a definition that is not served yet.
const applyTimeout = 30 * time.Second

// Apply applies all objects of these files, and of the .yaml and .yml files of
// these directories, by server-side apply: definitions and namespaces first. It
// returns when the definitions are served.
func (c *ControlPlane) Apply(ctx context.Context, paths ...string) error {
	objects, err := readManifests(paths)
	if err != nil {
		return fmt.Errorf("reading manifests: %w", err)
	}
	if len(objects) == 0 {
		return nil
	}
	api, err := client.New(c.RESTConfig(), client.Options{})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for _, object := range objects {
		what := fmt.Sprintf("%s %s", object.GetKind(), object.GetName())
		err := poll(ctx, applyTimeout, what, func(ctx context.Context) error { return applyOne(ctx, api, object) })
		if err != nil {
			return fmt.Errorf("applying manifests: %w", err)
		}
	}
	for _, object := range objects {
		if object.GetKind() != definitionKind {
			continue
		}
		err := poll(ctx, applyTimeout, object.GetName()+" to be served", func(ctx context.Context) error {
			return checkEstablished(ctx, api, object)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// applyOne applies one object. An object that the server finds invalid stays so;
// anything else may pass, such as a kind that is not served yet.
func applyOne(ctx context.Context, api client.Client, object *unstructured.Unstructured) error {
	err := api.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), fieldOwner, client.ForceOwnership)
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return finalError{err}
	}
	return err
}

// checkEstablished says whether a custom resource definition is served.
func checkEstablished(ctx context.Context, api client.Client, definition *unstructured.Unstructured) error {
	current := definition.DeepCopy()
	if err := api.Get(ctx, client.ObjectKeyFromObject(definition), current); err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(current.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, condition := range conditions {
		fields, ok := condition.(map[string]any)
		if ok && fields["type"] == "Established" && fields["status"] == "True" {
			return nil
		}
	}
	return errors.New("it is not established")
}

// definitionKind is the kind of a custom resource definition.
const definitionKind = "CustomResourceDefinition"

// readManifests reads all objects, in the order in which they can be applied.
func readManifests(paths []string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		files, err := manifestFiles(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			found, err := readManifest(file)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", file, err)
			}
			objects = append(objects, found...)
		}
	}
	rank := func(o *unstructured.Unstructured) int {
		return slices.Index([]string{"", "Namespace", definitionKind}, o.GetKind())
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(b) - rank(a) })
	return objects, nil
}

// manifestFiles lists the manifests of a directory, or a file itself. What
// kustomize reads is no object of the API server's.
func manifestFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		stem := strings.TrimSuffix(entry.Name(), extension)
		if entry.IsDir() || (extension != ".yaml" && extension != ".yml") || stem == "kustomization" {
			continue
		}
		files = append(files, filepath.Join(path, entry.Name()))
	}
	return files, nil
}

// readManifest reads the documents of one file; empty ones are left out.
func readManifest(path string) ([]*unstructured.Unstructured, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(f, 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
