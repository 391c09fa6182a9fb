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
		name: "how disks are copied is said", field: "spec.options.storageCopy.mode", message: "Required value",
		reject: []string{options("storageCopy: {}")},
	}}
}
