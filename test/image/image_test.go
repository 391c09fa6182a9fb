//go:build image

package image

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	// accountDir is where a pod finds its token.
	accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	// patience is how long a test waits for anything that has to happen.
	patience = 90 * time.Second
)

// runFlags let a container run anywhere: without control groups of its own, and with limits
// that are no higher than this machine's, which podman would try to exceed.
func runFlags() []string {
	return []string{"run", "--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}
}

// podman runs podman and returns what it wrote to its output.
func podman(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, root+"/hack/image/podman.sh", args...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("podman %q: %w: %s", args, err, problems.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// setting returns an environment variable that the Makefile sets.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run `make test-image`", name)
	}
	return value
}

// TestTheImageSaysWhatItIs: the program and the labels, the same.
func TestTheImageSaysWhatItIs(t *testing.T) {
	image, version, revision := setting(t, "IMG"), setting(t, "VERSION"), setting(t, "REVISION")
	out, err := podman(t.Context(), append(runFlags(), "--rm", "--network=none", image, "version")...)
	if want := "virtferry " + version + ", revision " + revision + ", go1.26"; err != nil || !strings.HasPrefix(out, want) {
		t.Errorf("it says %q, %v, not %q", out, err, want)
	}
	for label, want := range map[string]string{"version": version, "revision": revision, "title": "Virtferry", "licenses": "Apache-2.0"} {
		format := fmt.Sprintf(`{{index .Labels "org.opencontainers.image.%s"}}`, label)
		if out, err := podman(t.Context(), "image", "inspect", "--format", format, image); err != nil || out != want {
			t.Errorf("the label %s is %q, %v, not %q", label, out, err, want)
		}
	}
}

// mount returns where the image's files can be read.
func mount(t *testing.T) string {
	t.Helper()
	files, err := podman(t.Context(), "image", "mount", setting(t, "IMG"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := podman(context.WithoutCancel(t.Context()), "image", "unmount", setting(t, "IMG")); err != nil {
			t.Error(err)
		}
	})
	return files
}

// TestLicencesOfPackagesAreThere: Debian's packages refer to common licences by their place,
// and whoever gets the packages has to get these, too.
func TestLicencesOfPackagesAreThere(t *testing.T) {
	files := mount(t)
	paths, err := filepath.Glob(files + "/usr/share/doc/*/copyright")
	if err != nil {
		t.Fatal(err)
	}
	place, referred := regexp.MustCompile(`/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]`), 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, licence := range place.FindAllString(string(text), -1) {
			referred++
			if info, err := os.Stat(files + licence); err != nil || info.Size() == 0 {
				t.Errorf("%s refers to %s: %v", filepath.Base(filepath.Dir(path)), licence, err)
			}
		}
	}
	if referred == 0 {
		t.Error("no package refers to a licence")
	}
}

// TestLicencesAreThere: with each module that the program in the image was compiled from come
// the texts of its licence, and the list of what is in the image names one.
func TestLicencesAreThere(t *testing.T) {
	files := mount(t)
	info, err := buildinfo.ReadFile(files + "/usr/local/bin/virtferry")
	if err != nil {
		t.Fatal(err)
	}
	modules := []string{"stdlib"}
	for _, m := range info.Deps {
		modules = append(modules, m.Path+"@"+m.Version)
	}
	for _, m := range modules {
		if texts, err := os.ReadDir(files + "/usr/share/doc/virtferry/third-party/" + m); err != nil || len(texts) == 0 {
			t.Errorf("%s has the licences %v, %v", m, texts, err)
		}
	}
	text, err := os.ReadFile(root + "/bin/image/virtferry-" + runtime.GOARCH + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Components []struct {
			Name     string `json:"name"`
			PURL     string `json:"purl"`
			Licenses []any  `json:"licenses"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	listed := 0
	for _, c := range list.Components {
		if !strings.HasPrefix(c.PURL, "pkg:golang/") {
			continue
		}
		listed++
		if len(c.Licenses) == 0 {
			t.Errorf("the list has no licence of %s", c.Name)
		}
	}
	if listed != len(modules) {
		t.Errorf("the list has %d modules, not %d", listed, len(modules))
	}
}

// TestAGuestMoves: a manager and agents from the image, with what their manifests give
// them, move a guest.
func TestAGuestMoves(t *testing.T) {
	log.SetLogger(logr.Discard()) // Of the client's.
	image := setting(t, "IMG")
	l := lab.ForTest(t, lab.Options{Hosts: 2, ControlPlane: true, Manifests: []string{
		root + "/config/default/namespace.yaml", root + "/config/crd/bases", root + "/config/rbac", root + "/config/policy",
	}})
	a, b := l.Hosts()[0], l.Hosts()[1]
	f := &fixture{t: t, lab: l, image: image}
	manager, managerPod := f.run("manager", managerManifest, nil), readPod(t, managerManifest)
	agents, agentPod := map[string]int{}, readPod(t, agentManifest)
	for _, h := range l.Hosts() {
		if err := l.ControlPlane().EnsureNode(t.Context(), h.Name()); err != nil {
			t.Fatal(err)
		}
		agents[h.Name()] = f.run("agent", agentManifest, h)
	}
	requireSettings(t, "the manager", manager, managerPod)
	for name, pid := range agents {
		requireSettings(t, "the agent of "+name, pid, agentPod)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	guest, err := a.StartGuest(ctx, lab.GuestConfig{Name: "web", Persistent: true, VNC: &lab.VNC{}, Load: lab.Load{WorkingSetMiB: 32}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guest.Ticks().Wait(ctx, a.Name(), 2); err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Hosts() {
		if err := h.WaitUsable(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.WaitPublished(ctx, guest); err != nil {
		t.Fatal(err)
	}
	requireSucceeds(ctx, t, l, guest, b)
	if t.Failed() {
		return
	}
	if _, err := l.ExactlyOneRunning(ctx, guest.UUID()); err != nil || guest.RunningOn(ctx) != b {
		t.Errorf("the guest does not run on %s alone: %v", b.Name(), err)
	}
	if _, err := guest.Ticks().Advance(ctx, b.Name(), 2); err != nil {
		t.Error(err)
	}
	if err := guest.Ticks().Check(); err != nil {
		t.Error(err)
	}
}

// requireSucceeds moves the guest by a LiveMigration.
func requireSucceeds(ctx context.Context, t *testing.T, l *lab.Lab, guest *lab.Guest, to *lab.Host) {
	t.Helper()
	api, err := l.ControlPlane().NewClient()
	if err != nil {
		t.Fatal(err)
	}
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "default"},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: guest.Name(), TargetNode: to.Name()},
	}
	if err := api.Create(ctx, lm); err != nil {
		t.Fatal(err)
	}
	for lm.Status.CompletionTime == nil {
		select {
		case <-ctx.Done():
			t.Errorf("the migration does not end: %+v", lm.Status)
			return
		case <-time.After(100 * time.Millisecond):
		}
		if err := api.Get(ctx, client.ObjectKeyFromObject(lm), lm); err != nil {
			t.Fatal(err)
		}
	}
	if lm.Status.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("the migration ends as %s: %+v", lm.Status.Phase, lm.Status.Conditions)
	}
}

// fixture runs containers in a lab.
type fixture struct {
	t     *testing.T
	lab   *lab.Lab
	image string
}

// run starts a container as a manifest describes it, on a host if it is an agent's, and
// returns its process's ID when it says that it lives. What it says goes to the lab's logs.
func (f *fixture) run(component, manifest string, h *lab.Host) int {
	f.t.Helper()
	pod := readPod(f.t, manifest)
	account := lab.Account{Namespace: lab.SystemNamespace, Name: pod.ServiceAccountName}
	name := filepath.Base(f.lab.Dir()) + "-" + component
	node := surroundings{fields: map[string]string{"metadata.namespace": lab.SystemNamespace}}
	if h != nil {
		name, account.Node = name+"-"+h.Name(), h.Name()
		node.fields["spec.nodeName"], node.fields["status.hostIP"] = h.Name(), h.Address()
		node.path = h.Path
		// The kubelet does so: the volumes' type is DirectoryOrCreate.
		for _, dir := range []string{"/run/virtferry", "/etc/pki"} {
			if err := os.MkdirAll(h.Path(dir), 0o755); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	flags, err := podmanFlags(pod, node)
	if err != nil {
		f.t.Fatal(err)
	}
	health := f.freeAddress()
	args := append(runFlags(), "--detach", "--name="+name, "--network=host", "--log-driver=k8s-file",
		"--log-opt=path="+filepath.Join(f.lab.LogDir(), name+".log"))
	args = append(append(args, flags...), f.account(account)...)
	args = append(append(args, f.image), pod.Containers[0].Args...)
	// In one network they would all listen on the same ports.
	args = append(args, "--health-probe-bind-address="+health, "--metrics-bind-address=0")
	f.t.Cleanup(func() {
		if _, err := podman(context.Background(), "rm", "--force", "--time=5", "--ignore", name); err != nil {
			f.t.Error(err)
		}
	})
	if _, err := podman(f.t.Context(), args...); err != nil {
		f.t.Fatal(err)
	}
	probe := pod.Containers[0].LivenessProbe.HTTPGet.Path
	f.await("http://"+health+probe, name)
	out, err := podman(f.t.Context(), "inspect", "--format={{.State.Pid}}", name)
	if err != nil {
		f.t.Fatal(err)
	}
	pid, err := strconv.Atoi(out)
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// account returns the flags by which a container reaches the API server as a service
// account, as a pod does.
func (f *fixture) account(account lab.Account) []string {
	f.t.Helper()
	path, err := f.lab.ControlPlane().AccountKubeconfig(f.t.Context(), account)
	if err != nil {
		f.t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		f.t.Fatal(err)
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		f.t.Fatal(err)
	}
	dir := f.t.TempDir()
	for name, content := range map[string][]byte{
		"token": []byte(config.BearerToken), "ca.crt": config.CAData, "namespace": []byte(account.Namespace),
	} {
		// Not only for root: the manager is somebody else.
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return []string{
		"--env=KUBERNETES_SERVICE_HOST=" + server.Hostname(), "--env=KUBERNETES_SERVICE_PORT=" + server.Port(),
		"--volume=" + dir + ":" + accountDir + ":ro",
	}
}

// freeAddress returns one at which nothing listens.
func (f *fixture) freeAddress() string {
	f.t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(f.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// await waits until a URL answers with success.
func (f *fixture) await(address, name string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			f.t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			f.t.Fatalf("%s does not say that it lives: %v", name, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
