//go:build integration

package integration

// storageRules are those on the disks that are copied.
func storageRules() []createRule {
	options := func(o string) string { return "{domain: web, targetNode: b, options: {" + o + "}}" }
	return []createRule{{
		name: "disks that are copied are not none", field: "spec.options.storageCopy.disks", message: "should have at least 1 items",
		accept: []string{options("storageCopy: {mode: Full, disks: [vda, sdb]}"), options("storageCopy: {mode: Incremental, synchronousWrites: true, sourceImages: Keep}")},
		reject: []string{options("storageCopy: {mode: Full, disks: []}")},
	}, {
		name: "disks that are copied have names", field: "spec.options.storageCopy.disks[0]", message: "should match '^[a-z0-9]+$'",
		reject: []string{options("storageCopy: {mode: Full, disks: [/dev/vda]}"), options("storageCopy: {mode: Full, disks: ['vda,vdb']}")},
	}, {
		name: "images that take all of their space are those of whole disks", field: "spec.options.storageCopy", message: "preallocate is for the mode Full: an image that is based on another is to hold only what differs",
		accept: []string{options("storageCopy: {mode: Full, preallocate: true}"), options("storageCopy: {mode: Incremental, preallocate: false}")},
		reject: []string{options("storageCopy: {mode: Incremental, preallocate: true}")},
	}, {
		name: "images take all of their space or leave zeroes out", field: "spec.options.storageCopy", message: "preallocate and detectZeroes exclude each other: one has the image take all of its space, the other as little as it can",
		accept: []string{options("storageCopy: {mode: Full, preallocate: true, detectZeroes: false}"), options("storageCopy: {mode: Full, preallocate: false, detectZeroes: true}")},
		reject: []string{options("storageCopy: {mode: Full, preallocate: true, detectZeroes: true}")},
	}, {
		name: "how disks are copied is said", field: "spec.options.storageCopy.mode", message: "Required value",
		reject: []string{options("storageCopy: {}")},
	}}
}
