package xmlrewrite

import (
	"strings"
	"testing"
)

func TestMaskSecrets(t *testing.T) {
	t.Parallel()
	const guest = `<domain>
  <name>g</name>
  <devices>
    <graphics type='vnc' passwd="hunter2!" port='-1'/>
    <disk type='network'>
      <source protocol='https'>
        <cookies>
          <cookie name='session'>hunter2!</cookie>
        </cookies>
      </source>
    </disk>
  </devices>
</domain>
`
	got, err := MaskSecrets(guest)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(guest, "hunter2!", mask); got != want {
		t.Errorf("masked:\n%s\nwanted:\n%s", got, want)
	}
	if _, err := MaskSecrets("<guest/>"); err == nil {
		t.Error("what is no guest is masked")
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	name, uuid, err := Identity("<domain><uuid>5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11</uuid><name> a&amp;b </name></domain>")
	if name != "a&b" || uuid != "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11" || err != nil {
		t.Errorf("the guest is %q, %q: %v", name, uuid, err)
	}
}

func TestQueriesOfHTTPDisksAreMasked(t *testing.T) {
	t.Parallel()
	masked, err := MaskSecrets(smallGuest(oneVCPU, "<disk type='network'><source protocol='https' name='/a?sig=hunter2' query='token=hunter2'><host name='b'/></source></disk>"))
	if err != nil || strings.Contains(masked, "hunter2") || !strings.Contains(masked, "name='/a?********'") {
		t.Errorf("%v: %s", err, masked)
	}
}

// Cloud-init's and Ignition's data, and systemd's credentials.
func TestWhatTheGuestsFirmwareHandsOnIsMasked(t *testing.T) {
	t.Parallel()
	for _, sysinfo := range []string{
		"<sysinfo type='fwcfg'><entry name='opt/com.coreos/config'>hunter2</entry></sysinfo>",
		"<sysinfo type='smbios'><oemStrings><entry>io.systemd.credential:passwd.hashed-password.root=hunter2</entry></oemStrings></sysinfo>",
	} {
		if masked, err := MaskSecrets(smallGuest(oneVCPU+sysinfo, "")); err != nil || strings.Contains(masked, "hunter2") {
			t.Errorf("%v: not masked, and not among what is said not to be: %s", err, sysinfo)
		}
	}
}

// TestWhatIsNoSecretIsShown, however much it looks like one.
func TestWhatIsNoSecretIsShown(t *testing.T) {
	t.Parallel()
	guest := smallGuest(oneVCPU+"<sysinfo type='smbios'><entry>a</entry><bios><entry name='vendor'>LENOVO</entry></bios></sysinfo>"+
		"<sysinfo type='fwcfg'><entry name='opt/a' file='/a'/><item name='opt/b'>b</item></sysinfo>",
		"<disk type='network'><source protocol='https' name='/a?'/></disk><disk type='network'><source protocol='rbd' name='pool/a?b'/></disk>"+
			"<disk type='network'><source protocol='http' name='/a'/></disk>")
	if masked, err := MaskSecrets(guest); err != nil || masked != guest {
		t.Errorf("%v:\n%s\nbecomes\n%s", err, guest, masked)
	}
}
