//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestMostOfEverything: the API server takes objects with as much of everything as
// the schema allows and a request can hold, and takes them again when nothing but an
// annotation changes. Both cost what other objects of their size cost: the rules are
// linear.
func TestMostOfEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, data := range map[string]map[string]any{
		"volumes by serial": {"volumes": many(256, func(i int) any {
			return map[string]any{"serial": long(i, 256), "source": map[string]any{"network": networkSource(i)}}
		})},
		"volumes by device": {"volumes": many(256, func(i int) any {
			return map[string]any{"targetDevice": fmt.Sprintf("vd%030d", i), "source": map[string]any{"file": map[string]any{"path": "/" + long(i, 4095)}}}
		})},
		"interfaces": {"interfaces": many(256, func(i int) any { return fullInterface(i) })},
		"pins":       {"numa": fullPins(), "pciDevices": fullPCI(), "mediatedDevices": fullMediated(), "sharedCPUSet": strings.Repeat("1,", 2047) + "1"},
	} {
		t.Run(name, func(t *testing.T) {
			lm := objectWith(t, "{domain: web, targetNode: b}")
			lm.SetNamespace(w.name)
			lm.Object["spec"].(map[string]any)["migrateData"] = data
			raw, err := json.Marshal(lm.Object)
			if err != nil {
				t.Fatal(err)
			}
			before := serverCPU(t)
			if err := cluster.client.Create(t.Context(), lm); err != nil {
				t.Fatalf("%d bytes: %v", len(raw), err)
			}
			created := serverCPU(t)
			lm.SetAnnotations(map[string]string{"note": "mine"})
			if err := cluster.client.Update(t.Context(), lm); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d KiB: CPU of the API server: %s to create, %s to annotate", len(raw)>>10, created-before, serverCPU(t)-created)
		})
	}
	t.Run("a duplicate among many", func(t *testing.T) {
		volumes := many(256, func(i int) any { return map[string]any{"serial": long(min(i, 254), 256)} })
		lm := objectWith(t, "{domain: web, targetNode: b}")
		lm.Object["spec"].(map[string]any)["migrateData"] = map[string]any{"volumes": volumes}
		requireRefused(t, cluster.client.Create(t.Context(), lm, client.DryRunAll), "spec.migrateData.volumes", "each serial may be listed only once")
	})
}

// many returns a list of things that differ by their number.
func many(n int, of func(i int) any) []any {
	list := make([]any, 0, n)
	for i := range n {
		list = append(list, of(i))
	}
	return list
}

// long returns a long string that differs from others at its end only.
func long(i, length int) string { return fmt.Sprintf("%s%06d", strings.Repeat("s", length-6), i) }

func networkSource(i int) map[string]any {
	return map[string]any{
		"protocol": "rbd", "name": long(i, 1024), "snapshotName": long(i, 256), "configFile": "/etc/ceph/" + long(i, 64),
		"hosts": many(32, func(j int) any {
			return map[string]any{"host": fmt.Sprintf("monitor-%d.example.com", j), "port": int64(6789)}
		}),
		"auth": map[string]any{"username": long(i, 64), "secretUUID": "11111111-1111-4111-8111-111111111111"},
	}
}

func fullInterface(i int) map[string]any {
	limit := map[string]any{"averageKilobytesPerSecond": int64(v1alpha1.MaxInteger), "peakKilobytesPerSecond": int64(v1alpha1.MaxInteger)}
	return map[string]any{
		"macAddress": fmt.Sprintf("52:54:00:00:%02x:%02x", i/256, i%256), "alias": "ua-" + long(i, 125), "targetDevice": fmt.Sprintf("tap%012d", i),
		"source":      map[string]any{"bridge": map[string]any{"name": fmt.Sprintf("br%013d", i)}},
		"virtualPort": map[string]any{"type": "openvswitch", "interfaceID": "11111111-1111-4111-8111-111111111111"},
		"vlan":        map[string]any{"trunk": "Enabled", "tags": many(64, func(j int) any { return map[string]any{"id": int64(j)} })},
		"filter": map[string]any{"name": long(i, 253), "parameters": many(32, func(j int) any {
			return map[string]any{"name": long(j, 24), "value": long(j, 32)}
		})},
		"bandwidth": map[string]any{"inbound": limit, "outbound": limit},
	}
}

func fullPins() map[string]any {
	return map[string]any{
		"vcpuPins": many(4096, func(i int) any {
			return map[string]any{"vcpu": int64(i), "hostCPUs": "0-4095,8191,16383,32767,65535,11111"}
		}),
		"ioThreadPins": many(1024, func(i int) any { return map[string]any{"ioThread": int64(i + 1), "hostCPUs": "0-4095"} }),
		"cellPins":     many(256, func(i int) any { return map[string]any{"cell": int64(i), "hostNodes": "0-255"} }),
		"realtime":     map[string]any{"vcpus": "0-4095", "priority": int64(99), "policy": "fifo"},
	}
}

func fullPCI() []any {
	return many(64, func(i int) any {
		return map[string]any{"source": fmt.Sprintf("00000000:%02x:00.1", i), "target": fmt.Sprintf("00000000:%02x:00.2", i), "guestAddress": fmt.Sprintf("00000000:%02x:00.3", i)}
	})
}

func fullMediated() []any {
	return many(64, func(i int) any {
		id := fmt.Sprintf("11111111-1111-4111-8111-%012d", i)
		return map[string]any{"source": id, "target": id}
	})
}

// serverCPU returns how much of the CPU the API server has used.
func serverCPU(t *testing.T) time.Duration {
	t.Helper()
	api, err := rest.UnversionedRESTClientFor(rawConfig(cluster.config))
	if err != nil {
		t.Fatal(err)
	}
	text, err := api.Verb(http.MethodGet).AbsPath("/metrics").Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var seconds float64
		if n, _ := fmt.Sscanf(line, "process_cpu_seconds_total %g", &seconds); n == 1 {
			return time.Duration(seconds * float64(time.Second))
		}
	}
	t.Fatal("the API server does not tell its CPU time")
	return 0
}
