//go:build image

package image

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// imageUser is who processes are where the manifest does not say it.
const imageUser = 65532

// requireSettings fails unless the kernel says of a process what its pod's manifest
// demands, whatever podman has made of its flags.
func requireSettings(t *testing.T, name string, pid int, pod corev1.PodSpec) {
	t.Helper()
	status := procFields(t, pid)
	s := pod.Containers[0].SecurityContext
	user := int64(imageUser)
	if s.RunAsUser != nil {
		user = *s.RunAsUser
	}
	want := map[string]string{
		"Uid": strings.Repeat("\t"+strconv.FormatInt(user, 10), 4), "Gid": strings.Repeat("\t"+strconv.FormatInt(user, 10), 4),
		"CapBnd": "\t0000000000000000", "CapPrm": "\t0000000000000000", "CapEff": "\t0000000000000000",
		"NoNewPrivs": "\t1", "Seccomp": "\t2", // By a filter.
	}
	for field, value := range want {
		if status[field] != value {
			t.Errorf("%s: %s is %q, not %q", name, field, status[field], value)
		}
	}
	var mounts []string
	for _, m := range pod.Containers[0].VolumeMounts {
		mounts = append(mounts, m.MountPath)
	}
	// The kubelet adds it to each pod; /var/run is /run.
	mounts = append(mounts, strings.TrimPrefix(accountDir, "/var"))
	slices.Sort(mounts)
	got, readOnly := procMounts(t, pid)
	if !slices.Equal(got, mounts) {
		t.Errorf("%s: mounted are %q, not %q", name, got, mounts)
	}
	if !readOnly {
		t.Errorf("%s: the root can be written to", name)
	}
}

func procFields(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		fields[key] = value
	}
	return fields
}

// procMounts returns the paths at which something is mounted, but for what each
// container has, and whether the root is read-only.
func procMounts(t *testing.T, pid int) (mounts []string, readOnly bool) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	const pointField, optionsField = 4, 5
	usual := []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		point := fields[pointField]
		kernel := slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(dir string) bool {
			return point == dir || strings.HasPrefix(point, dir+"/")
		})
		switch {
		case point == "/":
			readOnly = slices.Contains(strings.Split(fields[optionsField], ","), "ro")
		case !kernel && !slices.Contains(usual, point):
			mounts = append(mounts, point)
		}
	}
	slices.Sort(mounts)
	return mounts, readOnly
}
