package libvirt

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

var update = flag.Bool("update", false, "rewrite the expected results in testdata")

// TestDecodeJobStatsOfRealJobs replays what libvirt 9.0 said of real jobs.
func TestDecodeJobStatsOfRealJobs(t *testing.T) {
	files, err := filepath.Glob("testdata/jobstats/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".want.json") {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			var info lv.DomainJobInfo
			readJSON(t, file, &info)
			got, err := decodeJobStats(&info)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".json") + ".want.json"
			if *update {
				text, err := json.MarshalIndent(got, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, append(text, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var want hypervisor.JobStats
			readJSON(t, golden, &want)
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestDecodeJobStatsTypes(t *testing.T) {
	for number := range lv.DomainJobType(6) {
		stats, err := decodeJobStats(&lv.DomainJobInfo{Type: number})
		if err != nil || stats.Type == "" {
			t.Errorf("type %d is %q, %v", number, stats.Type, err)
		}
		if want := number == 1 || number == 2; stats.Active() != want {
			t.Errorf("type %d is active: %v", number, stats.Active())
		}
	}
	if _, err := decodeJobStats(&lv.DomainJobInfo{Type: 6}); err == nil {
		t.Error("an unknown type of job is no error")
	}
}

func TestDecodeJobStatsOperations(t *testing.T) {
	tests := []struct {
		info lv.DomainJobInfo
		want hypervisor.JobOperation
	}{
		{lv.DomainJobInfo{}, hypervisor.OperationUnknown},
		{lv.DomainJobInfo{Operation: lv.DOMAIN_JOB_OPERATION_MIGRATION_OUT}, hypervisor.OperationUnknown},
		{lv.DomainJobInfo{OperationSet: true}, hypervisor.OperationUnknown},
		{lv.DomainJobInfo{OperationSet: true, Operation: lv.DOMAIN_JOB_OPERATION_MIGRATION_IN}, hypervisor.OperationMigrationIn},
		{lv.DomainJobInfo{OperationSet: true, Operation: lv.DOMAIN_JOB_OPERATION_MIGRATION_OUT}, hypervisor.OperationMigrationOut},
		{lv.DomainJobInfo{OperationSet: true, Operation: lv.DOMAIN_JOB_OPERATION_BACKUP}, hypervisor.OperationOther},
		{lv.DomainJobInfo{OperationSet: true, Operation: 99}, hypervisor.OperationOther},
	}
	for _, test := range tests {
		got, err := decodeJobStats(&test.info)
		if err != nil || got.Operation != test.want {
			t.Errorf("operation is %q, %v, want %q", got.Operation, err, test.want)
		}
	}
}

// TestDecodeJobStatsIgnoresWhatIsNotSet fills every number and sets none.
func TestDecodeJobStatsIgnoresWhatIsNotSet(t *testing.T) {
	var info lv.DomainJobInfo
	fields := reflect.ValueOf(&info).Elem()
	for _, field := range fields.Fields() {
		switch field.Kind() {
		case reflect.Uint64:
			field.SetUint(7)
		case reflect.Int:
			field.SetInt(7)
		case reflect.String:
			field.SetString("seven")
		default:
		}
	}
	info.Type = lv.DOMAIN_JOB_UNBOUNDED
	got, err := decodeJobStats(&info)
	want := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationUnknown}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDecodeJobStatsNumbers(t *testing.T) {
	got, err := decodeJobStats(&lv.DomainJobInfo{
		Type:       lv.DOMAIN_JOB_FAILED,
		DiskBpsSet: true, DiskBps: 3,
		DiskTotalSet: true, DiskTotal: 10, DiskProcessedSet: true, DiskProcessed: 4, DiskRemainingSet: true, DiskRemaining: 6,
		MemDirtyRateSet: true, MemDirtyRate: 5, MemPageSizeSet: true, MemPageSize: 4096,
		SetupTimeSet: true, SetupTime: 7, DowntimeSet: true, Downtime: 500, DowntimeNetSet: true, DowntimeNet: 20,
		TimeElapsedSet: true, TimeElapsed: math.MaxUint64,
		AutoConvergeThrottleSet: true, AutoConvergeThrottle: 30,
		MemPostcopyReqsSet: true, MemPostcopyReqs: 9,
		ErrorMessageSet: true, ErrorMessage: "cannot parse\n<domain><graphics passwd='secret'/></domain>",
	})
	want := hypervisor.JobStats{
		Type: hypervisor.JobFailed, Operation: hypervisor.OperationUnknown,
		Disk:            hypervisor.Transfer{TotalBytes: 10, ProcessedBytes: 4, RemainingBytes: 6, BytesPerSecond: 3},
		MemoryPageBytes: 4096, MemoryDirtyBytesPerSecond: 20480,
		Downtime: 20 * time.Millisecond, DowntimeKnown: true, GrossDowntime: 500 * time.Millisecond, Setup: 7 * time.Millisecond,
		Elapsed:                     time.Duration(math.MaxInt64).Truncate(time.Millisecond),
		AutoConvergeThrottlePercent: 30, MemoryPostcopyRequests: 9, ErrorMessage: "cannot parse",
	}
	if err != nil || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	negative, err := decodeJobStats(&lv.DomainJobInfo{AutoConvergeThrottleSet: true, AutoConvergeThrottle: -1})
	if err != nil || negative.AutoConvergeThrottlePercent != 0 {
		t.Errorf("a negative throttle is %d, %v", negative.AutoConvergeThrottlePercent, err)
	}
}
