//go:build e2e

package libvirt

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/test/lab"
)

// recordVariable names the environment variable that holds a directory for what
// libvirt says of the jobs in these tests. The files in testdata/jobstats were
// chosen from there.
const recordVariable = "VIRTFERRY_RECORD"

// jobSampler reads raw job statistics during a migration.
type jobSampler struct {
	stopping context.CancelFunc
	stopped  chan struct{}
	from, to *lab.Host
	uuid     string
	samples  []lv.DomainJobInfo
}

func sampleJobs(t *testing.T, from, to *lab.Host, uuid string) *jobSampler {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &jobSampler{stopping: cancel, stopped: make(chan struct{}), from: from, to: to, uuid: uuid}
	t.Cleanup(cancel)
	if os.Getenv(recordVariable) == "" {
		close(s.stopped)
		return s
	}
	conn, err := lv.NewConnect(from.LibvirtURI())
	if err != nil {
		t.Fatal(err)
	}
	domain, err := conn.LookupDomainByUUIDString(uuid)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.stopped)
		for {
			if info, err := domain.GetJobStats(0); err == nil {
				s.samples = append(s.samples, *info)
			}
			select {
			case <-ctx.Done():
				_ = domain.Free()
				_, _ = conn.Close()
				return
			case <-time.After(25 * time.Millisecond):
			}
		}
	}()
	return s
}

// stop writes the samples and what each side keeps of the job.
func (s *jobSampler) stop(t *testing.T) {
	t.Helper()
	s.stopping()
	<-s.stopped
	if os.Getenv(recordVariable) == "" {
		return
	}
	t.Logf("%d samples", len(s.samples))
	for i, sample := range s.samples {
		writeSample(t, fmt.Sprintf("sample-%03d", i), sample)
	}
	writeCompleted(t, s.from, s.uuid)
	writeCompleted(t, s.to, s.uuid)
}

func writeCompleted(t *testing.T, host *lab.Host, uuid string) {
	t.Helper()
	conn, err := lv.NewConnect(host.LibvirtURI())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = conn.Close() }()
	domain, err := conn.LookupDomainByUUIDString(uuid)
	if err != nil {
		t.Logf("%s: %v", host.Name(), err)
		return
	}
	defer func() { _ = domain.Free() }()
	info, err := domain.GetJobStats(lv.DOMAIN_JOB_STATS_COMPLETED | lv.DOMAIN_JOB_STATS_KEEP_COMPLETED)
	if err != nil {
		t.Fatal(err)
	}
	writeSample(t, "completed-"+host.Name(), *info)
}

func writeSample(t *testing.T, name string, info lv.DomainJobInfo) {
	t.Helper()
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(os.Getenv(recordVariable), t.Name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
