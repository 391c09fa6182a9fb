package xmlrewrite

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

func TestHostPaths(t *testing.T) {
	const text = `
volumes:
- {serial: a, source: {file: {path: /a}}}
- {serial: b}
- {serial: c, source: {block: {path: ../c}}}
- {serial: d, source: {directory: {path: ""}}}
- {serial: e, source: {network: {protocol: nbd, hosts: [{host: e}, {transport: unix, socketPath: /e}]}}}
- {serial: f, source: {network: {protocol: rbd, name: f/f, configFile: /f}}}
- {serial: g, source: {storagePool: {pool: g, volume: /g}}}
- {serial: h, source: {nvme: {pciAddress: "0000:81:00.0", namespace: 1}}}
- {serial: i, source: {vhostUser: {path: /i}}}
- {serial: j, source: {vhostVDPA: {path: /j}}}
- {serial: k, source: {file: {path: /k1}, block: {path: /k2}}}
interfaces:
- {macAddress: "52:54:00:00:00:01"}
- {macAddress: "52:54:00:00:00:02", source: {vhostUser: {path: /l, mode: client}}}
- {macAddress: "52:54:00:00:00:03", source: {vdpa: {path: /m}}}
- {macAddress: "52:54:00:00:00:04", source: {bridge: {name: br0}}}
virtualPMEM:
- {path: /n}
- {path: /o/../p}
pathMappings:
- {from: /q, to: /r}
- {from: /s, to: /s}
- {from: /t, to: /u}
`
	data := &v1alpha1.MigrateData{}
	if err := yaml.UnmarshalStrict([]byte(text), data); err != nil {
		t.Fatal(err)
	}
	want := []HostPath{
		{dataRoot + "volumes[0].source.file.path", "/a"},
		{dataRoot + "volumes[2].source.block.path", "../c"},
		{dataRoot + "volumes[3].source.directory.path", ""},
		{dataRoot + "volumes[4].source.network.hosts[1].socketPath", "/e"},
		{dataRoot + "volumes[5].source.network.configFile", "/f"},
		{dataRoot + "volumes[8].source.vhostUser.path", "/i"},
		{dataRoot + "volumes[9].source.vhostVDPA.path", "/j"},
		{dataRoot + "volumes[10].source.file.path", "/k1"},
		{dataRoot + "volumes[10].source.block.path", "/k2"},
		{dataRoot + "interfaces[1].source.vhostUser.path", "/l"},
		{dataRoot + "interfaces[2].source.vdpa.path", "/m"},
		{dataRoot + "virtualPMEM[0].path", "/n"},
		{dataRoot + "virtualPMEM[1].path", "/o/../p"},
		{dataRoot + "pathMappings[0].to", "/r"},
		{dataRoot + "pathMappings[2].to", "/u"},
	}
	if got := HostPaths(data); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := HostPaths(nil); got != nil {
		t.Errorf("nil migrate data names %q", got)
	}
}

// TestHostPathsMissNoField fills every text of the migrate data and finds each
// field named like a path, or typed as one, among the paths.
func TestHostPathsMissNoField(t *testing.T) {
	data := &v1alpha1.MigrateData{}
	var paths []string
	fill(reflect.ValueOf(data).Elem(), "", &paths)
	if len(paths) < 10 {
		t.Fatalf("only %q look like paths", paths)
	}
	var got []string
	for _, p := range HostPaths(data) {
		if dataRoot+p.Path != p.DataPath {
			t.Errorf("%s is %q", p.DataPath, p.Path)
		}
		got = append(got, p.Path)
	}
	slices.Sort(got)
	slices.Sort(paths)
	if !slices.Equal(got, paths) {
		t.Errorf("got %q\nwant %q", got, paths)
	}
}

// fill gives every field of v a value; that of a text is its own path.
func fill(v reflect.Value, field string, paths *[]string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), field, paths)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), field+"[0]", paths)
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			fill(v.Field(i), strings.TrimPrefix(field+"."+name, "."), paths)
		}
	case reflect.String:
		v.SetString(field)
		name := strings.ToLower(strings.TrimPrefix(filepath.Ext(field), "."))
		if field == "pathMappings[0].to" {
			*paths = append(*paths, field)
		}
		for _, word := range [...]string{"path", "file", "dir", "socket"} {
			if strings.HasSuffix(name, word) {
				*paths = append(*paths, field)
				break
			}
		}
	}
}

// The agent of the target looks at these, and refuses what is not in the shortest form.
func TestPathsOnTheTargetAreToldAsTheyWillBe(t *testing.T) {
	t.Parallel()
	got := HostPaths(dataOf(t, "pathMappings: [{from: /srv/a/, to: /srv/a}, {from: /srv/b, to: /mnt//b/}]"))
	if len(got) != 1 || got[0].Path != "/mnt/b" {
		t.Errorf("got %v; want /mnt/b alone, since the first entry changes nothing", got)
	}
}
