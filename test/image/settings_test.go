// Package image tests the container image: the manager and the agents run from it, with
// what their manifests give them, and move a guest. There is no kubelet; podman runs the
// containers, in the machine's network and without limits to their resources, and the
// test holds what the kernel says of them against the manifests.
package image

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const (
	// root is the top of the source tree, seen from here.
	root            = "../.."
	managerManifest = root + "/config/manager/deployment.yaml"
	agentManifest   = root + "/config/agent/daemonset.yaml"
)

// workload is the part of a Deployment or DaemonSet that is of interest here.
type workload struct {
	Spec struct {
		Template struct {
			Spec corev1.PodSpec `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// readPod returns the pod of a manifest, which has one container.
func readPod(t *testing.T, path string) corev1.PodSpec {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var w workload
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Spec.Template.Spec.Containers); n != 1 {
		t.Fatalf("%s has %d containers", path, n)
	}
	return w.Spec.Template.Spec
}

// surroundings are what a node gives to a pod.
type surroundings struct {
	// fields are the pod's, as its environment refers to them.
	fields map[string]string
	// path returns where a path of the node lies on this machine.
	path func(string) string
}

// podmanFlags translates a pod into flags of `podman run`, and refuses what it cannot
// translate, so that no setting of a manifest gets lost.
func podmanFlags(pod corev1.PodSpec, node surroundings) ([]string, error) {
	c := pod.Containers[0]
	flags, err := securityFlags(pod.SecurityContext, c.SecurityContext)
	if err != nil {
		return nil, err
	}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			if e.ValueFrom.FieldRef == nil || node.fields[e.ValueFrom.FieldRef.FieldPath] == "" {
				return nil, fmt.Errorf("the variable %s is of an unknown kind", e.Name)
			}
			value = node.fields[e.ValueFrom.FieldRef.FieldPath]
		}
		flags = append(flags, "--env="+e.Name+"="+value)
	}
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 || pod.Volumes[i].HostPath == nil || !reflect.DeepEqual(m, corev1.VolumeMount{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}) {
			return nil, fmt.Errorf("the mount at %s is of an unknown kind", m.MountPath)
		}
		flag := "--volume=" + node.path(pod.Volumes[i].HostPath.Path) + ":" + m.MountPath
		if m.ReadOnly {
			flag += ":ro"
		}
		flags = append(flags, flag)
	}
	// Ports are served in any case, probes and resources are the kubelet's.
	c.Name, c.Image, c.ImagePullPolicy, c.Args, c.Env, c.VolumeMounts, c.SecurityContext = "", "", "", nil, nil, nil, nil
	c.Ports, c.LivenessProbe, c.ReadinessProbe, c.Resources = nil, nil, nil, corev1.ResourceRequirements{}
	if !reflect.DeepEqual(c, corev1.Container{}) {
		return nil, fmt.Errorf("the container has settings of an unknown kind: %+v", c)
	}
	return flags, nil
}

// securityFlags translates what pod and container may do.
func securityFlags(pod *corev1.PodSecurityContext, c *corev1.SecurityContext) ([]string, error) {
	seccomp, s := c.SeccompProfile, *c
	if pod != nil {
		if seccomp == nil {
			seccomp = pod.SeccompProfile
		}
		rest := *pod
		rest.RunAsNonRoot, rest.SeccompProfile = nil, nil
		if !reflect.DeepEqual(rest, corev1.PodSecurityContext{}) {
			return nil, fmt.Errorf("the pod's security context has settings of an unknown kind: %+v", rest)
		}
	}
	// That is what podman does unless it is told otherwise.
	if seccomp == nil || seccomp.Type != corev1.SeccompProfileTypeRuntimeDefault {
		return nil, fmt.Errorf("the seccomp profile is %v", seccomp)
	}
	s.SeccompProfile = nil
	return containerFlags(s)
}

// containerFlags translates what a container may do, but for system calls.
func containerFlags(s corev1.SecurityContext) ([]string, error) {
	var flags []string
	if s.RunAsUser != nil && s.RunAsGroup != nil {
		flags = append(flags, fmt.Sprintf("--user=%d:%d", *s.RunAsUser, *s.RunAsGroup))
	}
	if s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem {
		flags = append(flags, "--read-only", "--read-only-tmpfs=false")
	}
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		flags = append(flags, "--security-opt=no-new-privileges")
	}
	if reflect.DeepEqual(s.Capabilities, &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}) {
		flags = append(flags, "--cap-drop=ALL")
		s.Capabilities = nil
	}
	s.RunAsUser, s.RunAsGroup, s.ReadOnlyRootFilesystem, s.AllowPrivilegeEscalation = nil, nil, nil, nil
	if !reflect.DeepEqual(s, corev1.SecurityContext{}) {
		return nil, fmt.Errorf("the security context has settings of an unknown kind: %+v", s)
	}
	return flags, nil
}

// TestSettingsAreNotLost: a setting that nobody has thought of here is refused.
func TestSettingsAreNotLost(t *testing.T) {
	node := surroundings{
		fields: map[string]string{"spec.nodeName": "a", "metadata.namespace": "n", "status.hostIP": "192.0.2.1"},
		path:   func(path string) string { return path },
	}
	for _, manifest := range []string{managerManifest, agentManifest} {
		if _, err := podmanFlags(readPod(t, manifest), node); err != nil {
			t.Fatalf("%s: %v", manifest, err)
		}
	}
	for name, change := range map[string]func(*corev1.PodSpec){
		"a privileged container": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.Privileged = new(true) },
		"a capability": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
		},
		"another profile":    func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.SeccompProfile = nil },
		"another command":    func(p *corev1.PodSpec) { p.Containers[0].Command = []string{"sh"} },
		"a part of a volume": func(p *corev1.PodSpec) { p.Containers[0].VolumeMounts[0].SubPath = "x" },
		"a file system's group": func(p *corev1.PodSpec) {
			p.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(1))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := readPod(t, agentManifest)
			change(&pod)
			if flags, err := podmanFlags(pod, node); err == nil {
				t.Errorf("it becomes %q", flags)
			}
		})
	}
}
