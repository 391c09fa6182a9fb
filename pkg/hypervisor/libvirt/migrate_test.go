package libvirt

import (
	"reflect"
	"testing"
	_ "unsafe" // For go:linkname.

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestMigrateArguments(t *testing.T) {
	const always = lv.MIGRATE_LIVE | lv.MIGRATE_PEER2PEER
	tests := []struct {
		name      string
		params    hypervisor.MigrateParams
		want      lv.DomainMigrateParameters
		wantFlags lv.DomainMigrateFlags
	}{
		{
			name:      "least",
			params:    hypervisor.MigrateParams{DestinationURI: "qemu+tcp://b/system", LiveXML: "live"},
			want:      lv.DomainMigrateParameters{DestXMLSet: true, DestXML: "live"},
			wantFlags: always,
		},
		{
			name: "all",
			params: hypervisor.MigrateParams{
				DestinationURI: "qemu+tcp://b/system", MigrateURI: "tcp://192.0.2.2", ListenAddress: "192.0.2.2", LiveXML: "live", PersistentXML: "kept",
				Persist: true, AllowUnsafe: true, BandwidthMiBps: 100,
			},
			want: lv.DomainMigrateParameters{
				URISet: true, URI: "tcp://192.0.2.2", ListenAddressSet: true, ListenAddress: "192.0.2.2", DestXMLSet: true, DestXML: "live", PersistXMLSet: true, PersistXML: "kept",
				BandwidthSet: true, Bandwidth: 100,
			},
			wantFlags: always | lv.MIGRATE_PERSIST_DEST | lv.MIGRATE_UNDEFINE_SOURCE | lv.MIGRATE_UNSAFE,
		},
		{
			name:      "more for the switch-over",
			params:    hypervisor.MigrateParams{LiveXML: "live", Transfer: hypervisor.Transferral{SwitchoverBandwidthMiBps: 1000}},
			want:      lv.DomainMigrateParameters{DestXMLSet: true, DestXML: "live", BandwidthAvailSwitchoverSet: true, BandwidthAvailSwitchover: 1000},
			wantFlags: always,
		},
		{
			name:      "may switch to post-copy",
			params:    hypervisor.MigrateParams{LiveXML: "live", PostCopy: true},
			want:      lv.DomainMigrateParameters{DestXMLSet: true, DestXML: "live"},
			wantFlags: always | lv.MIGRATE_POSTCOPY,
		},
		{
			name:      "slows the guest down by libvirt's default",
			params:    hypervisor.MigrateParams{LiveXML: "live", AutoConverge: &hypervisor.AutoConverge{}},
			want:      lv.DomainMigrateParameters{DestXMLSet: true, DestXML: "live"},
			wantFlags: always | lv.MIGRATE_AUTO_CONVERGE,
		},
		{
			name:   "slows the guest down by so much",
			params: hypervisor.MigrateParams{LiveXML: "live", AutoConverge: &hypervisor.AutoConverge{InitialPercent: 30, IncrementPercent: 5}},
			want: lv.DomainMigrateParameters{
				DestXMLSet: true, DestXML: "live", AutoConvergeInitialSet: true, AutoConvergeInitial: 30,
				AutoConvergeIncrementSet: true, AutoConvergeIncrement: 5,
			},
			wantFlags: always | lv.MIGRATE_AUTO_CONVERGE,
		},
		{
			name:      "encrypted",
			params:    hypervisor.MigrateParams{LiveXML: "live", Transfer: hypervisor.Transferral{TLS: true}},
			want:      lv.DomainMigrateParameters{DestXMLSet: true, DestXML: "live"},
			wantFlags: always | lv.MIGRATE_TLS,
		},
		{
			name: "encrypted, over several connections that compress",
			params: hypervisor.MigrateParams{LiveXML: "live", Transfer: hypervisor.Transferral{
				TLS: true, TLSDestination: "b.example", ParallelConnections: 4, Compression: hypervisor.CompressionZstd, CompressionLevel: 3,
			}},
			want: lv.DomainMigrateParameters{
				DestXMLSet: true, DestXML: "live", TLSDestinationSet: true, TLSDestination: "b.example", ParallelConnectionsSet: true, ParallelConnections: 4,
				CompressionSet: true, Compression: "zstd", CompressionZstdLevelSet: true, CompressionZstdLevel: 3,
			},
			wantFlags: always | lv.MIGRATE_TLS | lv.MIGRATE_PARALLEL | lv.MIGRATE_COMPRESSED,
		},
		{
			name: "compressed by zlib",
			params: hypervisor.MigrateParams{LiveXML: "live", Transfer: hypervisor.Transferral{
				ParallelConnections: 1, Compression: hypervisor.CompressionZlib, CompressionLevel: 9,
			}},
			want: lv.DomainMigrateParameters{
				DestXMLSet: true, DestXML: "live", ParallelConnectionsSet: true, ParallelConnections: 1,
				CompressionSet: true, Compression: "zlib", CompressionZlibLevelSet: true, CompressionZlibLevel: 9,
			},
			wantFlags: always | lv.MIGRATE_PARALLEL | lv.MIGRATE_COMPRESSED,
		},
		{
			name:      "compressed by what has changed",
			params:    hypervisor.MigrateParams{LiveXML: "live", Transfer: hypervisor.Transferral{Compression: hypervisor.CompressionXBZRLE}},
			want:      lv.DomainMigrateParameters{DestXMLSet: true, DestXML: "live", CompressionSet: true, Compression: "xbzrle"},
			wantFlags: always | lv.MIGRATE_COMPRESSED,
		},
		{
			name:   "sent from where it is",
			params: hypervisor.MigrateParams{LiveXML: "live", Transfer: hypervisor.Transferral{ParallelConnections: 2, ZeroCopy: true}},
			want: lv.DomainMigrateParameters{
				DestXMLSet: true, DestXML: "live", ParallelConnectionsSet: true, ParallelConnections: 2,
			},
			wantFlags: always | lv.MIGRATE_PARALLEL | lv.MIGRATE_ZEROCOPY,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, flags := migrateArguments(test.params)
			if !reflect.DeepEqual(*got, test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
			if flags != test.wantFlags {
				t.Errorf("flags are %#x, want %#x", flags, test.wantFlags)
			}
		})
	}
}

// TestRecoverArguments: the flags are those of the first call, post-copy's among
// them, and no bandwidth limits the copying of what the guest waits for.
func TestRecoverArguments(t *testing.T) {
	params := hypervisor.MigrateParams{
		DestinationURI: "qemu+tcp://b/system", MigrateURI: "tcp://192.0.2.2", Persist: true, AllowUnsafe: true,
		BandwidthMiBps: 100, AutoConverge: &hypervisor.AutoConverge{InitialPercent: 30},
		Transfer: hypervisor.Transferral{TLS: true, TLSDestination: "b.example"},
	}
	got, flags := recoverArguments(params)
	want := lv.DomainMigrateParameters{
		URISet: true, URI: "tcp://192.0.2.2", AutoConvergeInitialSet: true, AutoConvergeInitial: 30, TLSDestinationSet: true, TLSDestination: "b.example",
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	params.PostCopy = true
	if _, first := migrateArguments(params); flags != first|lv.MIGRATE_POSTCOPY_RESUME {
		t.Errorf("flags are %#x, those of the first call %#x", flags, first)
	}
}

// fieldInfo is laid out as the client library's typedParamsFieldInfo.
type fieldInfo struct {
	set *bool
	_   *int
	_   *uint
	_   *int64
	ul  *uint64
	_   *bool
	_   *float64
	_   *string
	_   *[]string
}

//go:linkname migrateFields libvirt.org/go/libvirt.getMigrateParameterFieldInfo
func migrateFields(*lv.DomainMigrateParameters) map[string]fieldInfo

// TestBandwidthIsSharedWithPostcopy pins a fault of the client library: its
// Bandwidth sets both the limit before the switch to post-copy and the one
// after it. When this test fails the fault is gone, and what lifts the second
// limit can go as well.
func TestBandwidthIsSharedWithPostcopy(t *testing.T) {
	var params lv.DomainMigrateParameters
	fields := migrateFields(&params)
	precopy, postcopy := fields["bandwidth"], fields["bandwidth.postcopy"]
	if precopy.set != &params.BandwidthSet || precopy.ul != &params.Bandwidth {
		t.Fatal("the client library's table has changed beyond what this test understands")
	}
	if postcopy.set != &params.BandwidthSet || postcopy.ul != &params.Bandwidth {
		t.Error("the client library now tells the two bandwidths apart")
	}
}
