package agent

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// requireHost returns what is shown of the host.
func (p *publishing) requireHost() *v1alpha1.HypervisorHost {
	p.t.Helper()
	host := p.api.requireShown(p.t).Status.Host
	if host == nil {
		p.t.Fatal("nothing is shown of the host")
	}
	return host
}

// look waits until the host has been looked at and, if there was news, published.
func (p *publishing) look() { p.pass(factsInterval + publishInterval + time.Second) }

func TestTheHostIsPublishedWithTheNode(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(time.Second)
		host := p.requireHost()
		if host.CPU.Model != "EPYC" || host.Networks.Items[0].Name != "default" || host.StoragePools.Count != 0 || len(host.Unread) != 0 {
			t.Errorf("%+v is shown", host)
		}
		if first := p.api.said[0].Status.Host; first == nil {
			t.Error("the first publication says nothing of the host")
		}
		before, _ := p.api.count()
		p.pass(time.Hour)
		if n, _ := p.api.count(); n != before {
			t.Errorf("in an hour, %d publications said nothing new", n-before)
		}
		// It is looked at each minute, and, for what does not change, each ten.
		if n := p.host.Count(fake.MethodHostFacts, ""); n > 63 {
			t.Errorf("it was looked at %d times", n)
		}
	})
}

// TestWhatIsFreeIsPublishedRarely: only if it has changed by much, or with something else.
func TestWhatIsFreeIsPublishedRarely(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		free := func(bytes uint64) {
			p.host.SetFacts(func(f *hypervisor.HostFacts) {
				f.Memory = []hypervisor.CellMemory{{FreeBytes: bytes, FreePages: map[uint64]uint64{2 << 20: 512}}}
			})
		}
		shown := func() uint64 { return uint64(*p.requireHost().NUMA.Cells[0].FreeBytes) }
		p.start()
		p.pass(time.Second)
		before, _ := p.api.count()
		for n := range uint64(20) {
			free(32<<30 + n<<26) // It begins with 32 GiB of 64.
			p.look()
		}
		if n, _ := p.api.count(); n != before || shown() != 32<<30 {
			t.Errorf("small changes were published %d times: %d", n-before, shown())
		}
		p.flip(guestUUID, true)
		p.pass(publishSpacing)
		if n, _ := p.api.count(); n != before+1 || shown() != 32<<30+19<<26 {
			t.Errorf("after %d publications, %d is shown", n-before, shown())
		}
		free(20 << 30)
		p.look()
		if n, _ := p.api.count(); n != before+2 || shown() != 20<<30 {
			t.Errorf("after %d publications, %d is shown", n-before, shown())
		}
	})
}

// TestAFactThatCannotBeRead is named, hides no other and does not make the node unready.
func TestAFactThatCannotBeRead(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.host.SetFacts(func(f *hypervisor.HostFacts) {
			f.Errors[hypervisor.FactsStoragePools] = errors.New("no storage driver")
		})
		p.start()
		p.pass(time.Second)
		shown := p.api.requireShown(t)
		host := p.requireHost()
		if !shown.Connected || shown.Message != "" || host.StoragePools != nil || host.Networks == nil || host.CPU == nil ||
			len(host.Unread) != 1 || host.Unread[0].Fact != "StoragePools" {
			t.Errorf("%+v is shown, with the host %+v", shown, host)
		}
		// One that was read, and cannot be read in time, is likely to be as it was.
		p.host.SetFacts(func(f *hypervisor.HostFacts) {
			delete(f.Errors, hypervisor.FactsStoragePools)
			f.Errors[hypervisor.FactsMemory] = fake.Error(hypervisor.KindTimeout, "libvirt did not answer in time")
		})
		p.look()
		host = p.requireHost()
		if host.StoragePools == nil || host.NUMA.Cells[0].FreeBytes == nil || len(host.Unread) != 1 || host.Unread[0].Fact != "Memory" {
			t.Errorf("the host is shown as %+v", host)
		}
		p.host.SetFacts(func(f *hypervisor.HostFacts) { delete(f.Errors, hypervisor.FactsMemory) })
		p.look()
		if host = p.requireHost(); len(host.Unread) != 0 {
			t.Errorf("the host is shown as %+v", host)
		}
	})
}

// TestFactsThatHang hold nothing else up, and what another process has read stays.
func TestFactsThatHang(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(time.Second)
		p.stop()
		release := p.host.Hang(fake.MethodHostFacts)
		p.start()
		p.pass(firstFacts + publishDelay)
		p.flip(guestUUID, true)
		p.pass(publishSpacing)
		shown := p.api.requireShown(t)
		if shown.Status.Domains[0].State != string(hypervisor.StatePaused) || shown.Status.Host == nil || shown.Status.Host.CPU.Model != "EPYC" {
			t.Errorf("%+v is shown", shown)
		}
		release()
		p.look()
	})
}

// TestFactsAreReadAgain when libvirt was away.
func TestFactsAreReadAgain(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(time.Minute)
		p.host.Disconnect()
		p.pass(time.Minute)
		if shown := p.api.requireShown(t); shown.Connected || shown.Status.Host == nil {
			t.Errorf("while libvirt is away, %+v is shown", shown)
		}
		p.host.SetFacts(func(f *hypervisor.HostFacts) { f.Socket = "virtqemud-sock" })
		p.host.Reconnect()
		p.pass(publishInterval + time.Second)
		if host := p.requireHost(); host.LibvirtSocket != "virtqemud-sock" {
			t.Errorf("the host is shown as %+v", host)
		}
	})
}

// replacedFiles are files that are replaced as a whole.
type replacedFiles struct{ atomic.Pointer[fstest.MapFS] }

func (r *replacedFiles) Open(name string) (fs.File, error) { return r.Load().Open(name) }

// TestFilesOfTheHostAreReadAgain: a certificate is replaced while the agent runs.
func TestFilesOfTheHostAreReadAgain(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		host := &replacedFiles{}
		host.Store(&fstest.MapFS{"etc/pki/CA/cacert.pem": {Data: []byte("not yet")}})
		p.files = HostFiles{System: fstest.MapFS{"proc/sys/vm/unprivileged_userfaultfd": {Data: []byte("1\n")}}, Host: host}
		p.start()
		p.pass(time.Second)
		shown := p.requireHost()
		if shown.PostCopy.State != v1alpha1.PostCopyAvailable || shown.TLS.Control.Authority.State != v1alpha1.CertificateMalformed {
			t.Errorf("the host is shown as %+v", shown)
		}
		host.Store(&fstest.MapFS{"etc/passwd": {}})
		p.look()
		if shown = p.requireHost(); shown.TLS.Control.Authority.State != v1alpha1.CertificateMissing {
			t.Errorf("the host is shown as %+v", shown)
		}
	})
}

// hangingFiles are files on storage that does not respond, until that is mended.
type hangingFiles struct {
	fs.FS
	mended chan struct{}
	opened atomic.Int32
}

func (h *hangingFiles) Open(name string) (fs.File, error) {
	h.opened.Add(1)
	<-h.mended
	return h.FS.Open(name)
}

// TestFilesThatHang hold nothing else up, not even the agent's end.
func TestFilesThatHang(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		host := &hangingFiles{FS: fstest.MapFS{"etc/passwd": {}}, mended: make(chan struct{})}
		p.files = HostFiles{Host: host}
		p.start()
		p.pass(time.Minute)
		shown := p.requireHost()
		if shown.CPU == nil || shown.TLS != nil || len(shown.Unread) != 1 || shown.Unread[0].Fact != "Files" {
			t.Errorf("the host is shown as %+v", shown)
		}
		p.stop()
		p.start()
		p.pass(time.Hour)
		if n := host.opened.Load(); n > 2 {
			t.Errorf("%d reads hang", n)
		}
		close(host.mended)
		p.look()
		if shown = p.requireHost(); shown.TLS == nil || len(shown.Unread) != 0 {
			t.Errorf("the host is shown as %+v", shown)
		}
	})
}
