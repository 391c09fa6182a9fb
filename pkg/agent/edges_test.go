package agent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestTheYearsThatTheAPITakes have four digits.
func TestTheYearsThatTheAPITakes(t *testing.T) {
	t.Parallel()
	for year, told := range map[int]bool{1: false, 999: false, 1000: true, 2027: true, 9999: true, 10000: false} {
		c := hostfiles.Certificate{State: hostfiles.CertificateReady}
		if year > 1 {
			c.NotAfter = time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		}
		if got := certificate(c); (got.NotAfter != nil) != told {
			t.Errorf("of the year %d, %+v", year, got)
		}
	}
}

func TestMigrationPorts(t *testing.T) {
	t.Parallel()
	read := &hostfiles.QEMUConfig{MigrationPortMin: 49152, MigrationPortMax: 49215}
	for _, c := range []struct {
		told   PortRange
		config *hostfiles.QEMUConfig
		want   *v1alpha1.HostPortRange
	}{
		{PortRange{}, nil, nil},
		{PortRange{}, read, &v1alpha1.HostPortRange{First: 49152, Last: 49215}},
		{PortRange{First: 50000, Last: 50000}, read, &v1alpha1.HostPortRange{First: 50000, Last: 50000}},
		{PortRange{First: 50000, Last: 49999}, read, nil},
	} {
		got := migrationPorts(ReceiveConfig{MigrationPorts: c.told}, c.config)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("told %+v, and read %+v: %+v", c.told, c.config, got)
		}
	}
}

// TestACPUOfWhichLittleIsKnown is told as far as it is.
func TestACPUOfWhichLittleIsKnown(t *testing.T) {
	t.Parallel()
	caps := &hypervisor.HostCapabilities{CPU: hypervisor.HostCPU{Model: "EPYC"}}
	offered := &hypervisor.OfferedCPUs{Maximum: &hypervisor.OfferedCPU{}}
	if got := hostCPU(nil, nil); got != nil {
		t.Errorf("of nothing, %+v", got)
	}
	if got := hostCPU(caps, nil); got == nil || got.Model != "EPYC" {
		t.Errorf("of what libvirt says it has, %+v", got)
	}
	if got := hostCPU(nil, offered); got == nil || got.Model != "" {
		t.Errorf("of what libvirt offers, %+v", got)
	}
}

// TestAllThatIsUnreadIsNamed, whether it is libvirt's or a file.
func TestAllThatIsUnreadIsNamed(t *testing.T) {
	t.Parallel()
	libvirts := map[hypervisor.FactGroup]error{hypervisor.FactsMemory: errors.New("no")}
	for _, c := range []struct {
		errs  map[hypervisor.FactGroup]error
		files error
		want  string
	}{
		{nil, nil, ""},
		{libvirts, nil, "Memory"},
		{nil, errFilesHang, "Files"},
		{libvirts, errFilesHang, "Files Memory"},
	} {
		var names []string
		for _, u := range unread(c.errs, c.files) {
			names = append(names, u.Fact)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("of %v and %v, %q is named", c.errs, c.files, got)
		}
	}
	if len(libvirts) != 1 {
		t.Errorf("it was added to what is known: %v", libvirts)
	}
}

// TestANumberThatIsNewOrGone is published, even if nobody knows by how much it differs.
func TestANumberThatIsNewOrGone(t *testing.T) {
	t.Parallel()
	n := new(int64(8))
	if got := steadyPointer(n, nil, 16); got != n {
		t.Errorf("one that is new is %v", got)
	}
	if got := steadyPointer(nil, n, 16); got != nil {
		t.Errorf("one that is gone is %d", *got)
	}
}

// TestTheLongestListOfCPUs is as long as the API takes, and has the highest number.
func TestTheLongestListOfCPUs(t *testing.T) {
	t.Parallel()
	if got, err := ParseCPUs(strconv.Itoa(highestCPU)); got != "8191" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	text := "100"
	for n := 1000; len(text) < maxCPUList; n += 2 { // Five characters each.
		text += "," + strconv.Itoa(n)
	}
	if len(text) != maxCPUList {
		t.Fatalf("the list has %d characters", len(text))
	}
	if got, err := ParseCPUs(text); got != text || err != nil {
		t.Errorf("%v", err)
	}
	if _, err := ParseCPUs("0," + text); err == nil {
		t.Error("one that is longer is taken")
	}
}

// TestPatienceWithATargetEnds when it is over, and begins anew with each failure.
func TestPatienceWithATargetEnds(t *testing.T) {
	silent := &hypervisor.Error{Kind: hypervisor.KindTimeout, Message: "no answer"}
	for name, c := range map[string]struct {
		patience time.Duration
		fail     func(*targetSession) error
	}{
		"an emulator that is not there": {emulatorPatience, func(s *targetSession) error {
			return s.noEmulator(&v1alpha1.GuestEmulator{Path: "/usr/bin/qemu"}, "not there")
		}},
		"a secret driver that is silent": {secretPatience, func(s *targetSession) error { return s.secretsFailed("asking", silent) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &targetSession{node: &Node{Name: "node-b", Clock: clock.RealClock{}}}
				refused := func() bool {
					var r *refusal
					return errors.As(c.fail(s), &r)
				}
				if refused() {
					t.Error("it is refused at once")
				}
				time.Sleep(c.patience - time.Millisecond)
				if refused() {
					t.Error("it is refused early")
				}
				time.Sleep(time.Millisecond)
				if !refused() {
					t.Error("it is not refused when the time is over")
				}
			})
		})
	}
}

// TestWhatCannotBeTakenBackIsTold: of several reasons, the first; of the API server's, nothing,
// as that is no trouble of the node's; and that it is over, once.
func TestWhatCannotBeTakenBackIsTold(t *testing.T) {
	t.Parallel()
	libvirts := func(text string) error { return &hypervisor.Error{Kind: hypervisor.KindOther, Message: text} }
	servers := errors.New("the API server is away")
	var book logBook
	l := NewLoans(&Node{Log: book.logger()})
	for i, c := range []struct {
		failing map[string]error
		trouble string
		// over is how often the log has said that it is over.
		over int
	}{
		{nil, "", 0},
		{map[string]error{"a": servers}, "", 0},
		{map[string]error{"a": libvirts("one"), "b": libvirts("two")}, "one", 0},
		{map[string]error{"a": servers, "b": libvirts("two")}, "two", 0},
		{nil, "", 1},
		{nil, "", 1},
	} {
		l.tell(c.failing)
		trouble := ""
		if at := l.node.loanTrouble.Load(); at != nil {
			trouble = *at
		}
		if (trouble == "") != (c.trouble == "") || !strings.Contains(trouble, c.trouble) {
			t.Errorf("step %d: the node's trouble is %q", i, trouble)
		}
		if n := book.count("Nothing is in the way"); n != c.over {
			t.Errorf("step %d: the log says %d times that it is over", i, n)
		}
	}
}

func TestWarningOfANode(t *testing.T) {
	t.Parallel()
	p := &Publisher{node: &Node{}}
	warning := func(found string, trouble *string) string {
		p.node.loanTrouble.Store(trouble)
		return p.warning(findings{warning: found})
	}
	if got := warning("", nil) + warning("a", nil) + warning("", new("b")) + warning("a", new("b")); got != "aba; b" {
		t.Errorf("got %q", got)
	}
}

// TestWhatDoesNotChangeIsReadRarely: libvirt starts QEMU for some of it.
func TestWhatDoesNotChangeIsReadRarely(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(2 * time.Second)
		p.host.SetFacts(func(f *hypervisor.HostFacts) { f.Bridges = []string{"br7"} })
		shown := func() string { return fmt.Sprint(p.requireHost().Bridges) }
		p.pass(hostInterval - factsInterval)
		if got := shown(); strings.Contains(got, "br7") {
			t.Errorf("soon, %s is shown", got)
		}
		p.pass(factsInterval + publishInterval)
		if got := shown(); !strings.Contains(got, "br7") {
			t.Errorf("afterwards, %s is shown", got)
		}
	})
}

// TestWhatCannotBeReadIsLoggedOnce, until it could be.
func TestWhatCannotBeReadIsLoggedOnce(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		var book logBook
		p.log = book.logger()
		fails := func(fail bool) {
			p.host.SetFacts(func(f *hypervisor.HostFacts) {
				delete(f.Errors, hypervisor.FactsMemory)
				if fail {
					f.Errors[hypervisor.FactsMemory] = fake.Error(hypervisor.KindOther, "no")
				}
			})
			p.pass(30 * time.Minute)
		}
		mended := make(chan struct{})
		p.files = HostFiles{Host: &hangingFiles{FS: hostWith(1), mended: mended}}
		fails(true)
		p.start()
		for i, fail := range []bool{true, false, true} {
			fails(fail)
			if n, want := book.count("A fact of the host could not be read"), []int{1, 1, 2}[i]; n != want {
				t.Errorf("step %d: the log says %d times that a fact could not be read", i, n)
			}
		}
		if n := book.count("Files of the host could not be read"); n != 1 {
			t.Errorf("the log says %d times that files could not be read", n)
		}
		close(mended)
		p.look()
	})
}
