package fake

import (
	"cmp"
	"context"
	"encoding/xml"
	"maps"
	"path"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// defaultSpace is how much space is left on a host, and fileSystemBytes how much it has.
const (
	defaultSpace    = 1 << 40
	fileSystemBytes = 1 << 41
)

// files are the images by their paths. Directories that several hosts see are the fleet's.
type files map[string]hypervisor.ImageSight

// ShareDirectory makes all hosts see the same files in a directory.
func (f *Fleet) ShareDirectory(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shared[dir] = files{}
}

// AddImage puts a file on the host.
func (h *Host) AddImage(file string, image hypervisor.ImageSight) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	image.Exists = true
	if image.StatusChanged.IsZero() {
		image.StatusChanged = time.Now()
	}
	at, file := h.filesAt(file)
	at[file] = image
}

// Images returns the files on the host, but for those in directories that are shared.
func (h *Host) Images() map[string]hypervisor.ImageSight {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	return maps.Clone(h.images)
}

// AllImages returns the files that the host sees, but for links.
func (h *Host) AllImages() map[string]hypervisor.ImageSight {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	out := maps.Clone(h.images)
	if out == nil {
		out = files{}
	}
	for _, shared := range h.fleet.shared {
		maps.Copy(out, shared)
	}
	return out
}

// LinkImage makes a host see another file at a path than is there, as behind a symbolic link.
func (h *Host) LinkImage(file string, image hypervisor.ImageSight) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.links == nil {
		h.links = files{}
	}
	h.links[file] = image
}

// SetSpace sets how much space is left in the file system that all directories are on, but for
// those that have one of their own.
func (h *Host) SetSpace(bytes uint64) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.space = bytes
}

// Mount has a directory be on a file system of its own.
func (h *Host) Mount(dir string, size, available uint64) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.fileSystems == nil {
		h.fileSystems = map[string]fileSystem{}
	}
	h.fileSystems[dir] = fileSystem{size, available}
}

// Unmount has a directory be gone.
func (h *Host) Unmount(dir string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.gone == nil {
		h.gone = map[string]bool{}
	}
	h.gone[dir] = true
}

// Silence has storage not answer any more: who looks at a directory there gives up.
func (h *Host) Silence(dir string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.silent == nil {
		h.silent = map[string]bool{}
	}
	h.silent[dir] = true
}

// OnLook has something done, once, after a look at a directory.
func (h *Host) OnLook(dir string, do func()) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.onLook == nil {
		h.onLook = map[string]func(){}
	}
	h.onLook[dir] = do
}

// looked does what is to be done after a look at a directory.
func (h *Host) looked(dir string) {
	h.fleet.mu.Lock()
	do := h.onLook[dir]
	delete(h.onLook, dir)
	h.fleet.mu.Unlock()
	if do != nil {
		do()
	}
}

// fileSystem is how large one is, and how much is left in it.
type fileSystem struct{ size, available uint64 }

// MountShared makes a host see a directory that is shared at another path, and nothing at the
// one by which the others know it.
func (h *Host) MountShared(shared, at string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.mounts == nil {
		h.mounts = map[string]string{}
	}
	h.mounts[at], h.mounts[shared] = shared, at
}

// filesAt returns the files among which a path is, and what it is called there. The fleet's
// mutex is held.
func (h *Host) filesAt(file string) (files, string) {
	dir, name := path.Split(file)
	dir = path.Clean(dir)
	if other, ok := h.mounts[dir]; ok {
		dir = other
	}
	if shared, ok := h.fleet.shared[dir]; ok {
		return shared, path.Join(dir, name)
	}
	return h.images, file
}

// imageAt returns a file; one that does not exist if there is none. The fleet's mutex is held.
func (h *Host) imageAt(file string) hypervisor.ImageSight {
	at, file := h.filesAt(file)
	return at[file]
}

// LookAtImage implements hypervisor.ImageKeeper.
func (h *Host) LookAtImage(ctx context.Context, file string) (hypervisor.ImageSight, error) {
	sights, err := h.LookAtImages(ctx, path.Dir(file), []string{path.Base(file)})
	if err != nil {
		return hypervisor.ImageSight{}, err
	}
	return sights[0], nil
}

// LookAtImages implements hypervisor.ImageKeeper.
func (h *Host) LookAtImages(ctx context.Context, dir string, names []string) ([]hypervisor.ImageSight, error) {
	defer h.looked(dir)
	return invoke(ctx, h, &Call{Method: MethodLookAtImage}, func() ([]hypervisor.ImageSight, error) {
		if h.gone[dir] {
			return nil, fault(MethodLookAtImage, hypervisor.KindOther, "cannot open directory '"+dir+"': No such file or directory")
		}
		if h.silent[dir] {
			return nil, fault(MethodLookAtImage, hypervisor.KindTimeout, "no answer")
		}
		sights := make([]hypervisor.ImageSight, len(names))
		for i, name := range names {
			file := path.Join(dir, name)
			sights[i] = h.imageAt(file)
			if link, ok := h.links[file]; ok {
				sights[i] = link
			}
			on, mounted := h.fileSystems[dir]
			if !mounted {
				on = fileSystem{fileSystemBytes, cmp.Or(h.space, defaultSpace)}
			}
			sights[i].FileSystemBytes, sights[i].AvailableBytes = on.size, on.available
		}
		return sights, nil
	})
}

// MakeImage implements hypervisor.ImageKeeper.
func (h *Host) MakeImage(ctx context.Context, image hypervisor.NewImage) error {
	_, err := invoke(ctx, h, &Call{Method: MethodMakeImage}, func() (struct{}, error) {
		at, name := h.filesAt(image.Path)
		if at[name].Exists {
			return struct{}{}, &hypervisor.Error{
				Op: operations[MethodMakeImage], Kind: hypervisor.KindOther, Message: image.Path + " exists already", Err: hypervisor.ErrImageExists,
			}
		}
		made := hypervisor.ImageSight{Exists: true, Format: image.Format, CapacityBytes: image.CapacityBytes, Changed: time.Now(), StatusChanged: time.Now()}
		if image.Preallocate {
			made.AllocatedBytes = image.CapacityBytes
		}
		at[name] = made
		return struct{}{}, nil
	})
	return err
}

// RemoveImage implements hypervisor.ImageKeeper.
func (h *Host) RemoveImage(ctx context.Context, file string) error {
	_, err := invoke(ctx, h, &Call{Method: MethodRemoveImage}, func() (struct{}, error) {
		at, name := h.filesAt(file)
		delete(at, name)
		return struct{}{}, nil
	})
	return err
}

// DiskSize implements hypervisor.ImageKeeper.
func (h *Host) DiskSize(ctx context.Context, uuid, disk string) (hypervisor.DiskSize, error) {
	return invoke(ctx, h, &Call{Method: MethodDiskSize, UUID: uuid}, func() (hypervisor.DiskSize, error) {
		d := h.domains[uuid]
		if d == nil {
			return hypervisor.DiskSize{}, noDomain(MethodDiskSize, uuid)
		}
		file, ok := diskFiles(d.live)[disk]
		if !ok {
			return hypervisor.DiskSize{}, fault(MethodDiskSize, hypervisor.KindOther, "invalid path "+disk+" not assigned to domain")
		}
		image := h.imageAt(file)
		return hypervisor.DiskSize{CapacityBytes: image.CapacityBytes, AllocatedBytes: image.AllocatedBytes}, nil
	})
}

// diskFiles returns the files of a domain's disks.
func diskFiles(text hypervisor.DomainXML) map[string]string {
	var def struct {
		Disks []struct {
			Source struct {
				File string `xml:"file,attr"`
			} `xml:"source"`
			Target struct {
				Dev string `xml:"dev,attr"`
			} `xml:"target"`
		} `xml:"devices>disk"`
	}
	out := map[string]string{}
	if xml.Unmarshal([]byte(text), &def) != nil {
		return out
	}
	for _, d := range def.Disks {
		out[d.Target.Dev] = d.Source.File
	}
	return out
}

// mayCopy returns why disks cannot be copied to here. The fleet's mutex is held.
func (h *Host) mayCopy(from *Host, leaving *domain, params hypervisor.MigrateParams) error {
	here, there := diskFiles(params.LiveXML), diskFiles(leaving.live)
	for _, disk := range params.Copy.Disks {
		file, ok := here[disk]
		if !ok {
			return fault(MethodMigrate, hypervisor.KindOther, "invalid argument: disk target "+disk+" not found")
		}
		image := h.imageAt(file)
		if !image.Exists {
			return fault(MethodMigrate, hypervisor.KindOther, "Storage pool not found: no storage pool with matching target path '"+path.Dir(file)+"'")
		}
		if image.CapacityBytes != from.imageAt(there[disk]).CapacityBytes {
			return fault(MethodMigrate, hypervisor.KindOther, "operation failed: migration of disk "+disk+" failed: Source and target image have different sizes")
		}
	}
	return nil
}
