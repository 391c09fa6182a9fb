package libvirt

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestDisksAreCopiedOnlyByName: libvirt takes an empty list for all disks.
func TestDisksAreCopiedOnlyByName(t *testing.T) {
	const plain = lv.MIGRATE_LIVE | lv.MIGRATE_PEER2PEER
	for name, c := range map[string]struct {
		disks hypervisor.DiskCopy
		want  lv.DomainMigrateFlags
	}{
		"none":                      {hypervisor.DiskCopy{}, plain},
		"none, however it is asked": {hypervisor.DiskCopy{Disks: []string{}, Incremental: true, SynchronousWrites: true}, plain},
		"in full":                   {hypervisor.DiskCopy{Disks: []string{"vda"}}, plain | lv.MIGRATE_NON_SHARED_DISK},
		"incrementally":             {hypervisor.DiskCopy{Disks: []string{"vda"}, Incremental: true}, plain | lv.MIGRATE_NON_SHARED_INC},
		"synchronously": {
			hypervisor.DiskCopy{Disks: []string{"vda"}, SynchronousWrites: true}, plain | lv.MIGRATE_NON_SHARED_DISK | lv.MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES,
		},
	} {
		parameters, flags := migrateArguments(hypervisor.MigrateParams{Copy: c.disks, DisksURI: "tcp://b"})
		if parameters.DisksURISet != (len(c.disks.Disks) > 0) || parameters.DisksURISet && parameters.DisksURI != "tcp://b" || parameters.DisksPortSet {
			t.Errorf("%s: the disks go to %q (%v)", name, parameters.DisksURI, parameters.DisksURISet)
		}
		if flags != c.want || !slices.Equal(parameters.MigrateDisks, c.disks.Disks) || parameters.MigrateDisksSet != (len(c.disks.Disks) > 0) {
			t.Errorf("%s: flags %b, disks %v (%v)", name, flags, parameters.MigrateDisks, parameters.MigrateDisksSet)
		}
		if parameters.MigrateDisksDetectZeroesSet {
			t.Errorf("%s: zeroes are looked for", name)
		}
	}
	for _, disks := range [][]string{nil, {"vda", "vdb"}} {
		parameters, _ := migrateArguments(hypervisor.MigrateParams{Copy: hypervisor.DiskCopy{Disks: disks, DetectZeroes: true}})
		if parameters.MigrateDisksDetectZeroesSet != (disks != nil) || !slices.Equal(parameters.MigrateDisksDetectZeroesList, disks) {
			t.Errorf("zeroes are looked for in %v, want %v", parameters.MigrateDisksDetectZeroesList, disks)
		}
	}
}

// TestReadVolume as libvirt 9.0 describes a file.
func TestReadVolume(t *testing.T) {
	var got hypervisor.ImageSight
	err := readVolume(`<volume type='file'><name>web.qcow2</name><key>/images/web.qcow2</key>
		<capacity unit='bytes'>67108864</capacity><allocation unit='bytes'>200704</allocation><physical unit='bytes'>196616</physical>
		<target><path>/images/web.qcow2</path><format type='qcow2'/>
		<timestamps><atime>1700000001.5</atime><mtime>1700000002.000000012</mtime><ctime>1700000003.1</ctime></timestamps></target></volume>`, &got)
	want := hypervisor.ImageSight{Exists: true, Format: "qcow2", CapacityBytes: 64 << 20, AllocatedBytes: 200704, Changed: time.Unix(1700000002, 12), StatusChanged: time.Unix(1700000003, 100_000_000)}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if readVolume("<volume", &got) == nil {
		t.Error("what is no volume is read")
	}
	for text, want := range map[string]time.Time{"": {}, "soon": {}, "7": time.Unix(7, 0), "7.5": time.Unix(7, 500_000_000), "7.1234567891": time.Unix(7, 123456789), "7.x": time.Unix(7, 0)} {
		if got := readTimestamp(text); !got.Equal(want) {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// TestErrorsAboutImages: a file that is there, and a pool that can be asked later.
func TestErrorsAboutImages(t *testing.T) {
	for _, e := range []lv.Error{
		{Code: lv.ERR_STORAGE_VOL_EXIST, Message: "storage volume name 'a' already in use"},
		{Code: lv.ERR_INTERNAL_ERROR, Message: "volume target path '/images/a' already exists"},
	} {
		if err := asExists("making", "/images/a", e); !errors.Is(err, hypervisor.ErrImageExists) {
			t.Errorf("%v is %v", e, err)
		}
	}
	full := lv.Error{Code: lv.ERR_SYSTEM_ERROR, Message: "No space left on device"}
	if err := asExists("making", "/images/a", full); errors.Is(err, hypervisor.ErrImageExists) {
		t.Errorf("a full disk is %v", err)
	}
	busy := lv.Error{Code: lv.ERR_INTERNAL_ERROR, Message: "pool 'images' has asynchronous jobs running."}
	if kind := hypervisor.KindOf(asBusy("looking", busy)); kind != hypervisor.KindBusy {
		t.Errorf("a busy pool is %s", kind)
	}
	if kind := hypervisor.KindOf(convert("looking", asBusy("looking", full))); kind != hypervisor.KindOther {
		t.Errorf("a full disk is %s", kind)
	}
}

// TestWhichPoolHasADirectory: one that consists of its files.
func TestWhichPoolHasADirectory(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"<pool type='dir'><target><path>/images</path></target></pool>":     true,
		"<pool type='netfs'><target><path>/images/</path></target></pool>":  true,
		"<pool type='fs'><target><path>/images</path></target></pool>":      true,
		"<pool type='dir'><target><path>/other</path></target></pool>":      false,
		"<pool type='logical'><target><path>/images</path></target></pool>": false,
		"<pool type='dir'></pool>":                                          false,
		"<pool":                                                             false,
	} {
		if got := isDirectory(text, "/images"); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

func TestVolumeDefinition(t *testing.T) {
	t.Parallel()
	def := volumeDefinition("a", hypervisor.NewImage{Path: "/images/a", Format: "qcow2", CapacityBytes: 5})
	if def.Name != "a" || def.Allocation.Value != 0 || def.Capacity.Value != 5 || def.Target.Format.Type != "qcow2" || def.BackingStore != nil {
		t.Errorf("%+v", def)
	}
	def = volumeDefinition("a", hypervisor.NewImage{Format: "qcow2", BackingPath: "/b", BackingFormat: "raw"})
	if def.BackingStore == nil || def.BackingStore.Path != "/b" || def.BackingStore.Format.Type != "raw" {
		t.Errorf("with a base, %+v", def.BackingStore)
	}
}

// TestEncryptedImages: libvirt encrypts them by a secret of its own.
func TestEncryptedImages(t *testing.T) {
	t.Parallel()
	image := hypervisor.NewImage{Path: "/images/web", Format: "qcow2", CapacityBytes: 1 << 30}
	if def := volumeDefinition("web", image); def.Target.Encryption != nil {
		t.Errorf("one without a secret is made with %+v", def.Target.Encryption)
	}
	image.SecretUUID = "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"
	text, err := volumeDefinition("web", image).Marshal()
	if err != nil || !strings.Contains(text, `<encryption format="luks">`) || !strings.Contains(text, `<secret type="passphrase" uuid="`+image.SecretUUID+`">`) {
		t.Errorf("it is made by %s, %v", text, err)
	}
}

// TestEncryptionIsTriedAgain only where it has failed by chance.
func TestEncryptionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"internal error: Child process (qemu-img create -f qcow2) unexpected exit status 1: qemu-img: /images/web: Unable to get accurate CPU usage": true,
		"Secret not found: no secret with matching uuid": false,
	} {
		if got := hadNoTime(lv.Error{Code: lv.ERR_INTERNAL_ERROR, Message: message}); got != want {
			t.Errorf("%s: got %t", message, got)
		}
	}
}
