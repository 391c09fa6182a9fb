package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	goyaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/config/crd"
	"github.com/virtferry/virtferry/internal/admission"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// liveMigrationOf reads an object and refuses what the API server would refuse.
func liveMigrationOf(ctx context.Context, text []byte) (*v1alpha1.LiveMigration, error) {
	object, err := onlyObject(text)
	if err != nil {
		return nil, err
	}
	if want := v1alpha1.GroupVersion.String(); object["apiVersion"] != want || object["kind"] != "LiveMigration" {
		return nil, fmt.Errorf("the object must be a LiveMigration of %s", want)
	}
	checker, err := admission.NewChecker(crd.LiveMigrations)
	if err != nil {
		return nil, fmt.Errorf("preparing the check of the object: %w", err)
	}
	if err := checker.Check(ctx, object); err != nil {
		return nil, fmt.Errorf("the API server would refuse the object:\n%w", err)
	}
	lm := &v1alpha1.LiveMigration{}
	return lm, runtime.DefaultUnstructuredConverter.FromUnstructured(object, lm)
}

// onlyObject reads the one object that there must be.
func onlyObject(text []byte) (map[string]any, error) {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var object map[string]any
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		asJSON, err := yaml.YAMLToJSONStrict(document)
		switch {
		case err != nil:
			return nil, err
		case hasMore(document):
			return nil, errors.New("there is more behind the object; give one LiveMigration and nothing else")
		case string(asJSON) == "null": // Nothing but comments.
			continue
		case object != nil:
			return nil, errors.New("there is more than one object; give one LiveMigration")
		}
		if err := utiljson.Unmarshal(asJSON, &object); err != nil {
			return nil, err
		}
	}
	if object == nil {
		return nil, errors.New("there is no object; give one LiveMigration")
	}
	return object, nil
}

// hasMore reports whether there is something behind the first document: behind three dots,
// or behind an object in JSON, of which sigs.k8s.io/yaml says nothing.
func hasMore(text []byte) bool {
	documents := goyaml.NewDecoder(bytes.NewReader(text))
	var document goyaml.Node
	if err := documents.Decode(&document); err != nil {
		return !errors.Is(err, io.EOF)
	}
	return !errors.Is(documents.Decode(&document), io.EOF)
}

// checkDomain refuses an object that moves another guest than that of the XML.
func checkDomain(wanted, name, uuid string) error {
	switch {
	case wanted == name, uuid != "" && strings.EqualFold(wanted, uuid):
		return nil
	case name == "":
		return fmt.Errorf("spec.domain is %q, but the XML of --domain names no guest; take it from virsh dumpxml", wanted)
	}
	return fmt.Errorf("spec.domain is %q, but the XML of --domain is that of the guest %q; give the definition of the guest that the object moves", wanted, name)
}

// checkOther refuses a second definition that is not of the same guest.
func checkOther(guest, other []byte) error {
	name, uuid, err := xmlrewrite.Identity(guest)
	if err != nil {
		return err
	}
	otherName, otherUUID, err := xmlrewrite.Identity(other)
	if err != nil {
		return fmt.Errorf("reading --other-definition: %w", err)
	}
	if name != otherName || uuid != "" && otherUUID != "" && !strings.EqualFold(uuid, otherUUID) {
		return fmt.Errorf("--domain is a definition of the guest %q (%s), and --other-definition one of %q (%s); give the two definitions of one guest", name, uuid, otherName, otherUUID)
	}
	return nil
}
