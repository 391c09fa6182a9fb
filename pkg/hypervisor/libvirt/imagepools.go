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

// ownPools begins the names of pools that are there for one call only.
const ownPools = "virtferry-temporary-"

// enterPool returns the pool that has a directory, as it is now. Where there is none, one is
// made, which is gone when it is left: so is one that a process could not leave that has ended.
//
// No two pools can have the same directory. Two processes of an agent, which a lock on the node
// keeps apart, could only use the same one, and whoever is faster ends it: then the other has
// to ask again; see asEnded.
func enterPool(conn *lv.Connect, op, dir string) (pool *lv.StoragePool, leave func(), err error) {
	pool, err = findPool(conn, op, dir)
	if err == nil && pool == nil {
		pool, err = createPool(conn, op, dir)
	} else if err == nil {
		err = refresh(pool, op)
	}
	if err != nil {
		return nil, nil, err
	}
	return pool, func() { leavePool(pool) }, nil
}

// refresh reads the directory of a pool anew, or frees its handle.
func refresh(pool *lv.StoragePool, op string) error {
	err := pool.Refresh(0)
	if err != nil {
		_ = pool.Free() // It fails only for a handle that is none.
	}
	return asBusy(op, err)
}

func createPool(conn *lv.Connect, op, dir string) (*lv.StoragePool, error) {
	def := &libvirtxml.StoragePool{
		Type: "dir", Name: ownPools + strconv.FormatInt(time.Now().UnixNano(), 36),
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
	switch {
	case err != nil || active:
	case strings.HasPrefix(name, ownPools): // It is about to go.
		err = fault(op, hypervisor.KindBusy, "the storage pool "+name+" is being ended")
	default:
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

// leavePool ends a pool of ours. What is in its directory stays.
func leavePool(pool *lv.StoragePool) {
	name, err := pool.GetName()
	if err == nil && strings.HasPrefix(name, ownPools) {
		if persistent, err := pool.IsPersistent(); err == nil && !persistent {
			_ = pool.Destroy() // The next call finds it, and tries again.
		}
	}
	_ = pool.Free()
}

// asBusy says of a pool in which something is being made that it can be asked later.
func asBusy(op string, err error) error {
	if e := (lv.Error{}); errors.As(err, &e) && strings.Contains(e.Message, "asynchronous jobs running") {
		return fault(op, hypervisor.KindBusy, sanitize(e.Message))
	}
	return err
}

// asEnded says of whatever libvirt has against a pool of ours that it can be asked again: another
// process has ended the pool, or was faster in making one. So it is not taken for an answer
// about what is in the directory.
func asEnded(op string, err error) error {
	if e := (lv.Error{}); errors.As(err, &e) && e.Code != lv.ERR_NO_STORAGE_VOL && strings.Contains(e.Message, ownPools) {
		return fault(op, hypervisor.KindBusy, sanitize(e.Message))
	}
	return err
}
