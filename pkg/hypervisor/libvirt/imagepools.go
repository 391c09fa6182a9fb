package libvirt

import (
	"errors"
	"strconv"
	"strings"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// ownPools begins the names of pools that are there for one call only. What follows tells
// which process has made it and, behind the last hyphen, when.
const ownPools = "virtferry-temporary-"

// abandonedPool is how old a pool of another process is of which that process is not taken
// to be still using it: no call takes as long.
const abandonedPool = 10 * time.Minute

// imagePools are the pools by which directories are used. While an agent is updated, two
// processes may use them, and no two pools can have the same directory: so one may use the
// other's, and only the one that has made it ends it.
type imagePools struct {
	// made begins the names of those of this process.
	made string
}

func newImagePools(now time.Time) imagePools {
	return imagePools{made: ownPools + strconv.FormatInt(now.UnixNano(), 36) + "-"}
}

// enter returns the pool that has a directory, as it is now. Where there is none, one is made,
// which is gone when it is left: so is one that an earlier process could not leave.
func (p imagePools) enter(conn *lv.Connect, op, dir string) (pool *lv.StoragePool, leave func(), err error) {
	pool, err = findPool(conn, op, dir)
	if err == nil && pool == nil {
		pool, err = p.create(conn, op, dir)
	} else if err == nil {
		err = refresh(pool, op)
	}
	if err != nil {
		return nil, nil, err
	}
	return pool, func() { p.leave(pool) }, nil
}

// refresh reads the directory of a pool anew, or frees its handle.
func refresh(pool *lv.StoragePool, op string) error {
	err := pool.Refresh(0)
	if err != nil {
		_ = pool.Free() // It fails only for a handle that is none.
	}
	return asEnded(op, asBusy(op, err))
}

func (p imagePools) create(conn *lv.Connect, op, dir string) (*lv.StoragePool, error) {
	def := &libvirtxml.StoragePool{
		Type: "dir", Name: p.made + strconv.FormatInt(time.Now().UnixNano(), 36),
		Target: &libvirtxml.StoragePoolTarget{Path: dir},
	}
	text, err := def.Marshal()
	if err != nil {
		return nil, errNoXML
	}
	pool, err := conn.StoragePoolCreateXML(text, 0)
	if err == nil {
		return pool, nil
	}
	// Another process may have been faster.
	if other, findErr := findPool(conn, op, dir); findErr == nil && other != nil {
		return other, refresh(other, op)
	}
	return nil, err
}

// findPool returns the pool that has a directory; nil if there is none.
func findPool(conn *lv.Connect, op, dir string) (*lv.StoragePool, error) {
	pools, err := conn.ListAllStoragePools(0)
	if err != nil {
		return nil, err
	}
	var found *lv.StoragePool
	for i := range pools {
		if found == nil && hasDirectory(&pools[i], dir) {
			found = &pools[i]
			continue
		}
		_ = pools[i].Free() // It fails only for a handle that is none.
	}
	if found == nil {
		return nil, nil //nolint:nilnil // There is none.
	}
	name, err := found.GetName()
	active := false
	if err == nil {
		active, err = found.IsActive()
	}
	if err == nil && !active {
		err = fault(op, hypervisor.KindOther, "the storage pool "+name+", which has the directory "+dir+", is not active; start it with `virsh pool-start`")
	}
	if err != nil {
		_ = found.Free()
		return nil, err
	}
	return found, nil
}

// hasDirectory reports whether a pool consists of the files of a directory. One that has gone
// meanwhile does not.
func hasDirectory(pool *lv.StoragePool, dir string) bool {
	text, err := pool.GetXMLDesc(0)
	return err == nil && isDirectory(text, dir)
}

// leave ends a pool that is ours, or was left behind by a process that is gone. What is in its
// directory stays.
func (p imagePools) leave(pool *lv.StoragePool) {
	name, err := pool.GetName()
	if err == nil && p.ends(name, time.Now()) {
		if persistent, err := pool.IsPersistent(); err == nil && !persistent {
			_ = pool.Destroy() // The next call finds it, and tries again.
		}
	}
	_ = pool.Free()
}

// ends reports whether a pool is to be ended by this process.
func (p imagePools) ends(name string, now time.Time) bool {
	if strings.HasPrefix(name, p.made) {
		return true
	}
	rest, temporary := strings.CutPrefix(name, ownPools)
	made, err := strconv.ParseInt(rest[strings.LastIndex(rest, "-")+1:], 36, 64)
	return temporary && (err != nil || now.Sub(time.Unix(0, made)) > abandonedPool || time.Unix(0, made).After(now))
}

// asBusy says of a pool in which something is being made that it can be asked later.
func asBusy(op string, err error) error {
	if e := (lv.Error{}); errors.As(err, &e) && strings.Contains(e.Message, "asynchronous jobs running") {
		return fault(op, hypervisor.KindBusy, sanitize(e.Message))
	}
	return err
}

// asEnded says of a pool that has gone while it was used that it can be asked later: another
// process has ended it. So it is not taken for an answer about what was in it.
func asEnded(op string, err error) error {
	if e := (lv.Error{}); errors.As(err, &e) && e.Code == lv.ERR_NO_STORAGE_POOL && strings.Contains(e.Message, ownPools) {
		return fault(op, hypervisor.KindBusy, sanitize(e.Message))
	}
	return err
}
