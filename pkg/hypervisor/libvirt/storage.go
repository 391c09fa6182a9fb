package libvirt

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// copyDisks adds the disks to the parameters, and returns the flags for them.
func copyDisks(parameters *lv.DomainMigrateParameters, disks hypervisor.DiskCopy, uri string) lv.DomainMigrateFlags {
	if len(disks.Disks) == 0 {
		return 0
	}
	parameters.MigrateDisksSet, parameters.MigrateDisks = true, disks.Disks
	parameters.DisksURISet, parameters.DisksURI = uri != "", uri
	flags := lv.MIGRATE_NON_SHARED_DISK
	if disks.Incremental {
		flags = lv.MIGRATE_NON_SHARED_INC
	}
	if disks.SynchronousWrites {
		flags |= lv.MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES
	}
	if disks.DetectZeroes {
		parameters.MigrateDisksDetectZeroesSet, parameters.MigrateDisksDetectZeroesList = true, disks.Disks
	}
	return flags
}

// imagesSubject is what calls about images are about: they may have to wait for a file
// server, and that is not to keep the host from being asked.
const imagesSubject = "images"

// callImages makes a call on the pool of a path's directory, with its name in it. What is seen
// there must not change before it is acted on by us, so such calls go one by one; an
// abandoned call, too, is waited for.
func callImages[T any](ctx context.Context, c *Client, op, file string, fn func(pool *lv.StoragePool, name string) (T, error)) (T, error) {
	return call(ctx, c, op, imagesSubject, func(conn *lv.Connect) (T, error) {
		c.images.Lock()
		defer c.images.Unlock()
		var none T
		pool, leave, err := enterPool(conn, op, path.Dir(file))
		if err != nil {
			return none, asEnded(op, err)
		}
		defer leave()
		out, err := fn(pool, path.Base(file))
		return out, asEnded(op, err)
	})
}

// LookAtImage implements hypervisor.ImageKeeper.
func (c *Client) LookAtImage(ctx context.Context, file string) (hypervisor.ImageSight, error) {
	sights, err := c.LookAtImages(ctx, path.Dir(file), []string{path.Base(file)})
	if err != nil {
		return hypervisor.ImageSight{}, err
	}
	return sights[0], nil
}

// LookAtImages implements hypervisor.ImageKeeper.
func (c *Client) LookAtImages(ctx context.Context, dir string, names []string) ([]hypervisor.ImageSight, error) {
	return callImages(ctx, c, "looking at an image", path.Join(dir, "any"), func(pool *lv.StoragePool, _ string) ([]hypervisor.ImageSight, error) {
		info, err := pool.GetInfo()
		if err != nil {
			return nil, err
		}
		sights := make([]hypervisor.ImageSight, len(names))
		for i, name := range names {
			sights[i].FileSystemBytes, sights[i].AvailableBytes = info.Capacity, info.Available
			if err := lookAtVolume(pool, name, &sights[i]); err != nil {
				return nil, err
			}
		}
		return sights, nil
	})
}

// lookAtVolume reads what a pool knows of a file.
func lookAtVolume(pool *lv.StoragePool, name string, into *hypervisor.ImageSight) error {
	volume, err := pool.LookupStorageVolByName(name)
	switch {
	case errors.Is(err, lv.ERR_NO_STORAGE_VOL):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = volume.Free() }()
	text, err := volume.GetXMLDesc(0)
	if err != nil {
		return err
	}
	return readVolume(text, into)
}

// MakeImage implements hypervisor.ImageKeeper. libvirt makes some formats in steps of 1024
// bytes; an image that has become too large for that is taken away again.
func (c *Client) MakeImage(ctx context.Context, image hypervisor.NewImage) error {
	const op = "making an image"
	_, err := callImages(ctx, c, op, image.Path, func(pool *lv.StoragePool, name string) (struct{}, error) {
		var none struct{}
		there, err := pool.LookupStorageVolByName(name)
		if err == nil {
			_ = there.Free()
			return none, &hypervisor.Error{Op: op, Kind: hypervisor.KindOther, Message: image.Path + " exists already", Err: hypervisor.ErrImageExists}
		}
		if !errors.Is(err, lv.ERR_NO_STORAGE_VOL) {
			return none, err
		}
		if image.Format != rawFormat {
			if err := reserve(pool, name, op, image.Path); err != nil {
				return none, err
			}
		}
		volume, err := makeVolume(pool, name, op, image)
		if err != nil {
			return none, err
		}
		defer func() { _ = volume.Free() }()
		info, err := volume.GetInfo()
		if err == nil && info.Capacity != image.CapacityBytes {
			_ = volume.Delete(0)
			err = fault(op, hypervisor.KindOther, "libvirt cannot make an image of exactly "+strconv.FormatUint(image.CapacityBytes, 10)+
				" bytes in the format "+image.Format+", only in steps of 1024 bytes")
		}
		return none, err
	})
	return err
}

// rawFormat is that of files that libvirt makes itself, and never over another.
const rawFormat = "raw"

// reserve makes sure that nothing is in a file's place. A symbolic link that leads nowhere is in
// no listing, and the program by which libvirt makes images of other formats follows it. A
// raw file is made as if nothing was there, and only then; it is taken away again.
func reserve(pool *lv.StoragePool, name, op, file string) error {
	volume, err := makeVolume(pool, name, op, hypervisor.NewImage{Path: file, Format: rawFormat, CapacityBytes: hypervisor.ReservedBytes})
	if err != nil {
		return err
	}
	defer func() { _ = volume.Free() }()
	return volume.Delete(0)
}

// makeVolume makes a file in a pool.
func makeVolume(pool *lv.StoragePool, name, op string, image hypervisor.NewImage) (*lv.StorageVol, error) {
	text, err := volumeDefinition(name, image).Marshal()
	if err != nil {
		return nil, errNoXML
	}
	var flags lv.StorageVolCreateFlags
	if image.Preallocate && image.Format != rawFormat {
		flags = lv.STORAGE_VOL_CREATE_PREALLOC_METADATA // With all of it allocated, that is not only the metadata.
	}
	for tries := 1; ; tries++ {
		volume, err := pool.StorageVolCreateXML(text, flags)
		switch {
		case err == nil:
			return volume, nil
		case image.SecretUUID == "" || tries == mostEncryptions || !hadNoTime(err):
			return nil, asExists(op, image.Path, err)
		}
	}
}

// mostEncryptions is how often it is tried to make an encrypted image.
const mostEncryptions = 8

// hadNoTime reports whether an encrypted image was not made because QEMU could not tell how fast
// it is, by which it chooses how hard the passphrase is to guess. QEMU 7.2 was seen to fail so by
// chance, in one of six tries on a machine that was not idle. Nothing is left then.
func hadNoTime(err error) bool {
	e := (lv.Error{})
	return errors.As(err, &e) && strings.Contains(e.Message, "Unable to get accurate CPU usage")
}

// asExists tells of a file that has come between a look and the making.
func asExists(op, file string, err error) error {
	e := (lv.Error{})
	if errors.As(err, &e) && (e.Code == lv.ERR_STORAGE_VOL_EXIST || strings.Contains(e.Message, "already exists") || strings.Contains(e.Message, "File exists")) {
		return &hypervisor.Error{Op: op, Kind: hypervisor.KindOther, Code: int(e.Code), Domain: int(e.Domain), Message: file + " exists already", Err: hypervisor.ErrImageExists}
	}
	return err
}

// RemoveImage implements hypervisor.ImageKeeper.
func (c *Client) RemoveImage(ctx context.Context, file string) error {
	_, err := callImages(ctx, c, "removing an image", file, func(pool *lv.StoragePool, name string) (struct{}, error) {
		volume, err := pool.LookupStorageVolByName(name)
		if err == nil {
			err = volume.Delete(0)
			_ = volume.Free()
		}
		if errors.Is(err, lv.ERR_NO_STORAGE_VOL) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// DiskSize implements hypervisor.ImageKeeper.
func (c *Client) DiskSize(ctx context.Context, uuid, disk string) (hypervisor.DiskSize, error) {
	return onDomain(ctx, c, "reading the size of a disk", uuid, func(domain *lv.Domain) (hypervisor.DiskSize, error) {
		info, err := domain.GetBlockInfo(disk, 0)
		if err != nil {
			return hypervisor.DiskSize{}, err
		}
		return hypervisor.DiskSize{CapacityBytes: info.Capacity, AllocatedBytes: info.Allocation}, nil
	})
}
