package migration

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const gib = 1 << 30

// TestWhatSharesSpace, by what was seen of two directories, once or twice.
func TestWhatSharesSpace(t *testing.T) {
	t.Parallel()
	at := func(size, least, most uint64) FileSystemSight {
		return FileSystemSight{SizeBytes: size * gib, LeastBytes: least * gib, MostBytes: most * gib}
	}
	for name, c := range map[string]struct {
		a, b             FileSystemSight
		shares, doubtful bool
	}{
		"they are alike":                                   {at(100, 40, 40), at(100, 40, 40), true, false},
		"a little was written between the looks":           {at(100, 40, 40), at(100, 39, 39), true, false},
		"disks of one size, differently full":              {at(100, 40, 40), at(100, 20, 20), false, true},
		"the same, after another look":                     {at(100, 39, 40), at(100, 20, 21), false, true},
		"one image was removed between the looks":          {at(100, 20, 40), at(100, 38, 40), true, false},
		"disks of different sizes":                         {at(100, 40, 40), at(200, 120, 120), false, false},
		"different sizes, and by chance nearly as much":    {at(100, 40, 40), at(200, 41, 41), false, true},
		"parts of one pool":                                {at(100, 40, 40), at(200, 40, 40), true, false},
		"parts of one pool, written to between four looks": {at(100, 38, 40), at(200, 37, 39), true, false},
		"neither says anything":                            {at(0, 0, 0), at(0, 0, 0), true, false},
		"as large as can be":                               {FileSystemSight{1, 0, 0}, FileSystemSight{1, math.MaxUint64, math.MaxUint64}, false, true},
	} {
		for _, turned := range []bool{false, true} {
			a, b := c.a, c.b
			if turned {
				a, b = b, a
			}
			if got := a.SharesSpace(b); got != c.shares {
				t.Errorf("%s: shared is %t", name, got)
			}
			if got := a.Doubtful(b); got != c.doubtful {
				t.Errorf("%s: doubtful is %t", name, got)
			}
		}
	}
	twice := FileSystemOf(hypervisor.ImageSight{FileSystemBytes: 9, AvailableBytes: 5}).With(FileSystemOf(hypervisor.ImageSight{FileSystemBytes: 9, AvailableBytes: 3}))
	if want := (FileSystemSight{9, 3, 5}); twice != want {
		t.Errorf("two looks make %+v, want %+v", twice, want)
	}
	doubtful := DoubtfulDirectories(map[string]FileSystemSight{
		"/d": at(100, 40, 40), "/c": at(100, 20, 20), "/b": at(300, 200, 200), "/a": at(300, 200, 200),
	})
	if want := []string{"/c", "/d"}; !slices.Equal(doubtful, want) {
		t.Errorf("another look is needed at %v, want %v", doubtful, want)
	}
}

// TestSpaceLeft: what others were promised is missing in all directories of the file system, but
// for what has been written already.
func TestSpaceLeft(t *testing.T) {
	t.Parallel()
	one, other := FileSystemSight{1000, 600, 600}, FileSystemSight{9000, 8000, 8000}
	seen := map[string]FileSystemSight{"/a": one, "/b": one, "/c": other}
	grown := func(bytes uint64) map[string]hypervisor.ImageSight {
		return map[string]hypervisor.ImageSight{"/b/x": {Exists: true, AllocatedBytes: bytes}}
	}
	claim := func(remaining int64, images map[string]int64) []SpaceClaim {
		return []SpaceClaim{{Images: images, RemainingBytes: remaining}}
	}
	promised := map[string]int64{"/b/x": 400}
	for name, c := range map[string]struct {
		others  []SpaceClaim
		files   map[string]hypervisor.ImageSight
		a, b, c int64
	}{
		"nobody else has any":                     {nil, nil, 600, 600, 8000},
		"another's image is beside it":            {claim(mostBytes, promised), nil, 200, 200, 8000},
		"it has grown":                            {claim(mostBytes, promised), grown(300), 500, 500, 8000},
		"it has all that it is to have":           {claim(mostBytes, promised), grown(400), 600, 600, 8000},
		"it has more":                             {claim(mostBytes, promised), grown(4000), 600, 600, 8000},
		"little of it is still to be copied":      {claim(50, promised), nil, 550, 550, 8000},
		"nothing is":                              {claim(0, promised), nil, 600, 600, 8000},
		"less than nothing is":                    {claim(-5, promised), nil, 600, 600, 8000},
		"it takes all":                            {claim(mostBytes, map[string]int64{"/b/x": mostBytes, "/b/y": mostBytes}), nil, 0, 0, 8000},
		"it has images on both":                   {claim(mostBytes, map[string]int64{"/b/x": 400, "/c/x": 1000}), grown(100), 300, 300, 7000},
		"on both, little of which is to come":     {claim(100, map[string]int64{"/b/x": 400, "/c/x": 1000}), nil, 500, 500, 7900},
		"nobody knows on which file system it is": {claim(mostBytes, map[string]int64{"/gone/x": 100}), nil, 500, 500, 7900},
		"two others have some":                    {append(claim(mostBytes, promised), claim(mostBytes, map[string]int64{"/a/y": 100})...), nil, 100, 100, 8000},
	} {
		space := NewSpace(seen, c.others, c.files)
		if a, b, other := space.Left("/a"), space.Left("/b"), space.Left("/c"); a != c.a || b != c.b || other != c.c {
			t.Errorf("%s: left are %d, %d and %d, want %d, %d and %d", name, a, b, other, c.a, c.b, c.c)
		}
	}
}

// TestOneFileSystemOfMany: one directory that is like two others makes all three one, whichever
// is looked at first, and the least that was seen counts.
func TestOneFileSystemOfMany(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"/a", "/b", "/c"}, {"/b", "/c", "/a"}, {"/c", "/a", "/b"}} {
		seen := map[string]FileSystemSight{
			names[0]: {100 * gib, 40 * gib, 40 * gib}, names[1]: {100 * gib, 41 * gib, 41 * gib}, names[2]: {100 * gib, 42 * gib, 42 * gib},
			"/x": {100 * gib, 50 * gib, 50 * gib}, "/y": {100 * gib, 51 * gib, 51 * gib},
		}
		space := NewSpace(seen, nil, nil)
		for dir, want := range map[string]int64{"/a": 40, "/b": 40, "/c": 40, "/x": 50, "/y": 50} {
			if got := space.Left(dir); got != want*gib {
				t.Errorf("%v: in %s, %d GiB are left, want %d", names, dir, got/gib, want)
			}
		}
	}
}

// TestLackOfSpaceIsOfTheFileSystem, and its message says which directories it is about.
func TestLackOfSpaceIsOfTheFileSystem(t *testing.T) {
	t.Parallel()
	disk := func(name, path string) v1alpha1.GuestDisk {
		return v1alpha1.GuestDisk{Name: v1alpha1.DiskName(name), Path: path, CapacityBytes: 9 * gib, AllocatedBytes: 2 * gib}
	}
	a, b, c := disk("vda", "/a/x"), disk("vdb", "/b/x"), disk("vdc", "/c/x")
	little, much := FileSystemSight{100 * gib, 3 * gib, 3 * gib}, FileSystemSight{200 * gib, 50 * gib, 50 * gib}
	again := FileSystemSight{100 * gib, 30 * gib, 30 * gib}
	for name, c := range map[string]struct {
		disks []v1alpha1.GuestDisk
		seen  map[string]FileSystemSight
		want  string
	}{
		"one fits":                            {[]v1alpha1.GuestDisk{a}, map[string]FileSystemSight{"/a": little}, ""},
		"two, on two":                         {[]v1alpha1.GuestDisk{a, b}, map[string]FileSystemSight{"/a": little, "/b": much}, ""},
		"two, on two of one size":             {[]v1alpha1.GuestDisk{a, b}, map[string]FileSystemSight{"/a": little, "/b": again}, ""},
		"two in one directory":                {[]v1alpha1.GuestDisk{a, disk("vdb", "/a/y")}, map[string]FileSystemSight{"/a": little}, "There are 3072 MiB left in /a on node-b, and the guest's disks take 4096 MiB"},
		"two in two of one file system":       {[]v1alpha1.GuestDisk{a, b}, map[string]FileSystemSight{"/a": little, "/b": little}, "3072 MiB left in /a and /b together (as large and as full as each other, they count as one file system) on node-b, and the guest's disks take 4096 MiB"},
		"beside one that others copy to":      {[]v1alpha1.GuestDisk{disk("vda", "/a/x"), disk("vdb", "/a/y")}, map[string]FileSystemSight{"/a": little, "/o": little}, "left in /a (as large and as full as /o, to which others copy images, so that they count as one file system) on node-b"},
		"the third is on another file system": {[]v1alpha1.GuestDisk{a, b, c}, map[string]FileSystemSight{"/a": little, "/b": little, "/c": much}, "the guest's disks take 4096 MiB"},
	} {
		places := make([]ImagePlace, len(c.disks))
		for i := range places {
			places[i] = ImagePlace{Allowed: true}
		}
		_, blockers := PlanImages("node-b", c.disks, places, NewSpace(c.seen, nil, nil), epoch)
		switch {
		case c.want == "" && len(blockers) == 0:
		case c.want == "" || len(blockers) != 1 || blockers[0].Code != v1alpha1.BlockerNoSpaceForImages || !strings.Contains(blockers[0].Message, c.want):
			t.Errorf("%s: %+v, want %q", name, blockers, c.want)
		}
	}
}
