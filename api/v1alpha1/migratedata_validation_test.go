//go:build integration

package v1alpha1_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// TestMigrateDataAdmission shows migrate data to a real API server: whatever
// the rewriting takes must be admitted, and each rule must refuse something.
func TestMigrateDataAdmission(t *testing.T) {
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("starting the control plane (run `make test-integration`): %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stopping the control plane: %v", err)
		}
	})
	api, err := client.New(config, client.Options{FieldValidation: "Strict"})
	if err != nil {
		t.Fatal(err)
	}
	create := func(t *testing.T, data any) error {
		t.Helper()
		return api.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "migration.virtferry.dev/v1alpha1",
			"kind":       "LiveMigration",
			"metadata":   map[string]any{"name": "case", "namespace": "default"},
			"spec":       map[string]any{"domain": "guest", "targetNode": "node-b", "migrateData": data},
		}}, client.DryRunAll)
	}
	t.Run("admitted", func(t *testing.T) { testAdmitted(t, create) })
	t.Run("refused", func(t *testing.T) { testRefused(t, create) })
}

// testAdmitted takes the migrate data of the rewriting's golden files.
func testAdmitted(t *testing.T, create func(*testing.T, any) error) {
	files, err := filepath.Glob(filepath.Join("..", "..", "pkg", "xmlrewrite", "testdata", "golden", "*.want.xml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files found: %v", err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".want.xml")
		text, err := os.ReadFile(base + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var golden map[string]any
		if err := yaml.Unmarshal(text, &golden); err != nil {
			t.Fatal(err)
		}
		if data, ok := golden["migrateData"]; ok && len(data.(map[string]any)) > 0 {
			if err := create(t, data); err != nil {
				t.Errorf("%s: %v", filepath.Base(base), err)
			}
		}
	}
}

// testRefused has a case for each rule with a message, and for the formats.
func testRefused(t *testing.T, create func(*testing.T, any) error) {
	const network = "volumes: [{serial: a, source: {network: "
	tests := []struct{ data, want string }{
		{"{}", "should have at least 1 properties"},
		{"graphics: {}", "should have at least 1 properties"},
		{"graphics: {vncListenAddress: '[::1]'}", "must be an IPv4 or IPv6 address without brackets or port"},
		{"graphics: {spiceListenAddress: 192.0.2.1:5900}", "must be an IPv4 or IPv6 address without brackets or port"},
		{"graphics: {rdpListenAddress: host}", "must be an IPv4 or IPv6 address without brackets or port"},
		{"serial: {listenAddress: host}", "must be an IPv4 or IPv6 address without brackets or port"},
		{"serial: {ports: [0]}", "should be greater than or equal to 1"},
		{"serial: {ports: [65536]}", "should be less than or equal to 65535"},
		{"volumes: [{serial: a}, {serial: a}]", "each serial may be listed only once"},
		{"volumes: [{targetDevice: vda}, {targetDevice: vda}]", "each targetDevice may be listed only once"},
		{"volumes: [{serial: a, targetDevice: vda}]", "exactly one of the fields in [serial targetDevice] must be set"},
		{"volumes: [{serial: a, source: {}}]", "exactly one of the fields in [file block"},
		{"volumes: [{serial: a, source: {file: {path: relative}}}]", "should match"},
		{"volumes: [{serial: a, driver: {}}]", "should have at least 1 properties"},
		{"volumes: [{serial: a, driver: {cache: fast}}]", "Unsupported value"},
		{"volumes: [{serial: a, encryption: {secretUUID: x}}]", "should match"},
		{network + "{protocol: gopher}}}]", "Unsupported value"},
		{network + "{protocol: rbd}}}]", "name is required for every protocol but nbd"},
		{network + "{protocol: nbd}}}]", "hosts is required for every protocol but rbd and sheepdog"},
		{network + "{protocol: nbd, hosts: [{host: a}, {host: b}]}}}]", "only rbd, gluster and sheepdog take more than one host"},
		{network + "{protocol: nbd, hosts: [{host: a}], configFile: /a}}}]", "snapshotName and configFile are for rbd only"},
		{network + "{protocol: nbd, hosts: [{host: a}], initiatorIQN: a}}}]", "initiatorIQN is for iscsi only"},
		{network + "{protocol: nbd, hosts: [{host: a}], user: a}}}]", "user and group are for nfs only"},
		{network + "{protocol: nbd, hosts: [{host: a}], query: a}}}]", "query is for http and https only"},
		{network + "{protocol: nbd, hosts: [{host: a}], tlsHostname: a}}}]", "tlsHostname needs tls: Enabled"},
		{network + "{protocol: nbd, hosts: [{transport: unix, host: a}]}}}]", "transport: unix needs socketPath and nothing else"},
		{network + "{protocol: rbd, name: a, auth: {username: a}}}}]", "exactly one of the fields in [secretUUID secretUsage]"},
		{"volumes: [{serial: a, credentials: Keep}]", "credentials says what becomes of them where source moves the data"},
		{network + "{protocol: nbd, hosts: [{host: a}]}}, credentials: Send}]", "Unsupported value"},
		{"rbdMonitors: []", "should have at least 1 items"},
		{"perfEvents: [dreams]", "Unsupported value"},
		{"memoryBacking: {fileBacking: None, discard: Enabled}", "discard needs fileBacking: Required"},
		{"cpuShares: {policy: Set}", "shares must be given with policy: Set, and only then"},
		{"cpuShares: {policy: Remove, shares: 5}", "shares must be given with policy: Set, and only then"},
		{"interfaces: [{macAddress: '52:54'}]", "should match"},
		{"interfaces: [{macAddress: '52:54:00:00:00:01'}, {macAddress: '52:54:00:00:00:01'}]", "each interface may be listed only once"},
		{"interfaces: [{macAddress: '52:54:00:00:00:AA', guestAddress: '01:00.0'}, {macAddress: '52:54:00:00:00:aa', guestAddress: '01:00.0'}]", "each interface may be listed only once"},
		{"interfaces: [{macAddress: '52:54:00:00:00:AA', alias: ua-a}, {macAddress: '52:54:00:00:00:aa', alias: ua-a}]", "each interface may be listed only once"},
		{"interfaces: [{macAddress: '52:54:00:00:00:AA', alias: net0}]", "should match"},
		{"interfaces: [{macAddress: '52:54:00:00:00:01', source: {}}]", "exactly one of the fields in [bridge network"},
		{"interfaces: [{macAddress: '52:54:00:00:00:01', virtualPort: {profileID: a}}]", "type is required unless the virtual port is empty"},
		{"interfaces: [{macAddress: '52:54:00:00:00:01', filter: {parameters: [{name: A, value: b}]}}]", "parameters need a name of a filter"},
		{"interfaces: [{macAddress: '52:54:00:00:00:01', bandwidth: {outbound: {averageKilobytesPerSecond: 1, floorKilobytesPerSecond: 1}}}]", "only inbound traffic can have a guaranteed rate"},
		{"sharedCPUSet: 0-", "should match"},
		{"numa: {emulatorPin: ''}", "should be at least 1 chars long"},
		{"numa: {vcpuPins: [{vcpu: 0, hostCPUs: '1'}, {vcpu: 0, hostCPUs: '2'}]}", "Duplicate value"},
		{"numa: {realtime: {vcpus: '1'}}", "vcpus and priority belong together"},
		{"numa: {realtime: {policy: fifo}}", "policy needs vcpus and priority"},
		{"mediatedDevices: [{source: a, target: b}]", "should match"},
		{"pciDevices: [{source: '0000:81:00.9', target: '0000:81:00.1'}]", "should match"},
		{"virtualPMEM: [{path: dax}]", "should match"},
		{"secrets: [{secretKeyRef: {name: a, key: b}}]", "exactly one of the fields in [uuid usage] must be set"},
		{"secrets: [{uuid: a, secretKeyRef: {name: a, key: b}}]", "should match"},
		{"secrets: [{usage: {type: tls, name: a}, secretKeyRef: {name: a, key: b}}]", "Unsupported value"},
		{"secrets: [{usage: {type: ceph, name: a}, secretKeyRef: {name: A, key: b}}]", "name must be the name of a Secret"},
		{"secrets: [{usage: {type: ceph, name: a}, secretKeyRef: {name: a, key: a/b}}]", "should match"},
		{"secrets: [{usage: {type: ceph, name: a}}]", "secretKeyRef"},
		{"portMappings: [{from: 1, to: 2}, {from: 1, to: 3}]", "Duplicate value"},
		{"portMappings: [{from: 0, to: 2}]", "should be greater than or equal to 1"},
		{"pathMappings: [{from: dax, to: /dev/dax1}]", "should match"},
		{"pathMappings: [{from: /dev/dax0, to: /dev/dax1}, {from: /dev/dax0, to: /dev/dax2}]", "Duplicate value"},
		{"usbDevices: [{source: '3', target: 046d:c52b}]", "should match"},
		{"numa: {caches: [{source: 0, target: -1}]}", "should be greater than or equal to 0"},
		{"graphics: {fixedPorts: Change}", "Unsupported value"},
	}
	refused := map[string]bool{}
	for _, tt := range tests {
		var data map[string]any
		if err := yaml.Unmarshal([]byte(tt.data), &data); err != nil {
			t.Fatalf("%s: %v", tt.data, err)
		}
		if err := create(t, data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: wanted %q, got: %v", tt.data, tt.want, err)
		}
		refused[tt.want] = true
	}
	for _, message := range ruleMessages(t) {
		covered := false
		for want := range refused {
			covered = covered || strings.HasPrefix(message, want)
		}
		if !covered {
			t.Errorf("nothing shows that this rule refuses anything: %s", message)
		}
	}
}

// ruleMessages reads the messages of the rules from the types.
func ruleMessages(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("migratedata*_types.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no types found: %v", err)
	}
	var messages []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`XValidation:rule=.*,message="([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			messages = append(messages, m[1])
		}
	}
	return messages
}
