// Package v1alpha1 is the first version of Virtferry's API: the kinds, their
// conditions and reasons, and the names of annotations and finalizers.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=migration.virtferry.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every kind here.
const GroupName = "migration.virtferry.dev"

var (
	// GroupVersion is the group and version of the kinds here.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}
	// SchemeGroupVersion is GroupVersion under the name that generated code uses.
	SchemeGroupVersion = GroupVersion
	// SchemeBuilder collects the functions that add the kinds to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the kinds to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&LiveMigration{}, &LiveMigrationList{},
		&Hypervisor{}, &HypervisorList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
