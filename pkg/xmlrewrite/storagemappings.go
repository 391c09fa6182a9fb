package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// storageMap finds storage of the source host on the target.
type storageMap struct {
	mappings []v1alpha1.StorageMapping
	used     []bool
	found    map[string]storageUse // What is found on the target, by where.
	meet     Problems              // What would be found where another thing is.
}

// storageUse is something that a disk has on the source, and on the target as well.
type storageUse struct {
	from  string
	moved bool // The target has it elsewhere.
	image bool // It is all that the disk is, and not what an image is based on.
	// shared is whether others may have the same image.
	shared bool
}

// excludes reports whether two things would become one by the mappings. Of two images, claimDisk
// sees that, unless both may be shared: of those, it minds none, since they were one before.
func (u storageUse) excludes(other storageUse) bool {
	return u.from != other.from && (u.moved || other.moved) && (!u.image || !other.image || u.shared && other.shared)
}

// to returns where a pool or a file is on the target, by the entry for its name, or for the
// innermost directory that it is in; moved is whether that is elsewhere. A path that may lead
// elsewhere than it says is in no directory.
func (m *storageMap) to(kind v1alpha1.StorageKind, name string) (to string, moved bool) {
	from, plain := name, true
	if kind == v1alpha1.StorageKindDirectory {
		from, plain = cleanPath(name)
	}
	best := -1
	for i, mapping := range m.mappings {
		fits := mapping.Kind == kind && plain && (mapping.From == from || kind == v1alpha1.StorageKindDirectory && isBelow(from, mapping.From))
		if fits && (best < 0 || len(mapping.From) > len(m.mappings[best].From)) {
			best = i
		}
	}
	if best < 0 || m.mappings[best].From == m.mappings[best].To {
		return name, false
	}
	m.used[best] = true
	return m.mappings[best].To + from[len(m.mappings[best].From):], true
}

func newStorageMap(mappings []v1alpha1.StorageMapping) *storageMap {
	return &storageMap{mappings: mappings, used: make([]bool, len(mappings)), found: map[string]storageUse{}}
}

// mapStorage points a disk of which the user says nothing to where its data are on the target,
// and returns that; nil if they stay where they are. What its image is based on is found in
// the same way, unless pathMappings has a word for it.
//
// Block devices are not files of a directory, although their names look so: whether another
// name is the same device, nobody can tell.
func (p *planner) mapStorage(disk *xmltree.Node) *v1alpha1.VolumeSource {
	if p.data.Volumes != nil || len(p.storage.mappings) == 0 {
		return nil
	}
	source := disk.Child("source")
	p.mapBase(source.Child("dataStore"))
	for at := disk.Child("backingStore"); at != nil && !p.isFlattened(disk); at = at.Child("backingStore") {
		p.mapBase(at)
		p.mapBase(at.Child("source").Child("dataStore"))
	}
	switch disk.Value("type") {
	case "file":
		if to, moved := p.mapImage(disk, v1alpha1.StorageKindDirectory, source.Value("file"), pathKey); moved {
			source.SetAttr("file", to)
			return &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: to}}
		}
	case "volume":
		volume := source.Value("volume")
		if to, moved := p.mapImage(disk, v1alpha1.StorageKindPool, source.Value("pool"), func(pool string) string { return volumeKey(pool, volume) }); moved {
			source.SetAttr("pool", to)
			return &v1alpha1.VolumeSource{StoragePool: &v1alpha1.StoragePoolSource{Pool: to, Volume: volume}}
		}
	}
	return nil
}

// mapImage returns where the directory or pool with an image is on the target; key is what an
// image has for itself there.
func (p *planner) mapImage(disk *xmltree.Node, kind v1alpha1.StorageKind, from string, key func(string) string) (to string, moved bool) {
	if from == "" {
		return "", false
	}
	if to, moved = p.storage.to(kind, from); moved {
		p.checkText(placeOf(volumesField), to)
	}
	p.findStorage(disk, key(to), storageUse{from: key(from), moved: moved, image: true, shared: mayShare(disk)})
	return to, moved
}

// mapBase does so for one of the files on which an image is based, or in which it keeps its
// data.
func (p *planner) mapBase(at *xmltree.Node) {
	source := at.Child("source")
	if at.Value("type") != "file" || source == nil {
		return
	}
	from := source.Value("file")
	if p.hasPathMapping(from) {
		p.findStorage(at, pathKey(MapPath(p.data, from)), storageUse{from: pathKey(from)})
		return
	}
	to, moved := p.storage.to(v1alpha1.StorageKindDirectory, from)
	p.findStorage(at, pathKey(to), storageUse{from: pathKey(from), moved: moved})
	if moved {
		p.checkText(placeOf(volumesField), to)
		source.SetAttr("file", to)
	}
}

// findStorage notes what is found somewhere on the target, and reports it if that is where
// something else is found that the source has.
func (p *planner) findStorage(at *xmltree.Node, key string, use storageUse) {
	other, known := p.storage.found[key]
	switch {
	case !known:
		p.storage.found[key] = use
	case use.excludes(other):
		p.report(ProblemConflict, placeOf(volumesField), at,
			"spec.storageMappings of the target's Hypervisor finds this where it finds another thing that the guest has on the source; say in volumes where each of the guest's disks is on the target, or ask an administrator to correct the mappings")
		p.storage.meet = append(p.storage.meet, p.problems[len(p.problems)-1])
	}
}

// mapBacking returns where a file on which an image is based is on the target: had is its path
// on the source, and has what the disk's other rules have made of it.
func mapBacking(data *v1alpha1.MigrateData, had, has string) string {
	if had != has {
		return has
	}
	return MapPath(data, has)
}

// UsedStorage returns those mappings that give a disk another place, in any of a guest's
// definitions, and which two things would be one by them. The error is [Problems].
func UsedStorage[Text ~string | ~[]byte](definitions []Text, data *v1alpha1.MigrateData, mappings []v1alpha1.StorageMapping) (out []v1alpha1.StorageMapping, meet Problems, err error) {
	for _, definition := range definitions {
		p, err := newPlanner(string(definition), data, Options{Storage: mappings})
		if err != nil {
			return nil, nil, err
		}
		planVolumes(p)
		for i, used := range p.storage.used {
			if used && !slices.Contains(out, mappings[i]) {
				out = append(out, mappings[i])
			}
		}
		for _, problem := range p.storage.meet {
			if !slices.Contains(meet, problem) {
				meet = append(meet, problem)
			}
		}
	}
	return out, meet, nil
}
