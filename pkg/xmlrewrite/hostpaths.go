package xmlrewrite

import v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"

// HostPath is a path on the target host that migrate data names.
type HostPath struct {
	// DataPath is the place in the LiveMigration, such as
	// spec.migrateData.volumes[0].source.file.path.
	DataPath string
	// Path is the path as it was given, whether it is well-formed or not. That of an entry
	// of pathMappings is in its shortest form, if it has one.
	Path string
}

// HostPaths returns every path on the target host that the migrate data would
// have the guest, or libvirt on its behalf, open there, in the order of the
// data: files, directories, device nodes and sockets. What is found by another
// name, such as a volume of a storage pool or a PCI function, is none. Nil
// migrate data names no path.
func HostPaths(data *v1alpha1.MigrateData) []HostPath {
	if data == nil {
		return nil
	}
	var paths hostPaths
	for i := range data.Volumes {
		paths.addVolume("volumes["+itoa(i)+"].source", data.Volumes[i].Source)
	}
	for i := range data.Interfaces {
		source := data.Interfaces[i].Source
		if source == nil {
			continue
		}
		field := "interfaces[" + itoa(i) + "].source"
		if source.VhostUser != nil {
			paths.add(field+".vhostUser.path", &source.VhostUser.Path)
		}
		paths.addSource(field+".vdpa", source.VDPA)
	}
	for i := range data.VirtualPMEM {
		paths.add(vpmemField+"["+itoa(i)+"].path", &data.VirtualPMEM[i].Path)
	}
	for i := range data.PathMappings {
		// In the form in which they are used.
		from, _ := cleanPath(data.PathMappings[i].From)
		to, _ := cleanPath(data.PathMappings[i].To)
		if from == to {
			continue // It leaves the guest with what it has.
		}
		paths.add(pathMappingsField+"["+itoa(i)+"].to", &to)
	}
	return paths
}

type hostPaths []HostPath

func (h *hostPaths) add(field string, path *string) {
	if path != nil {
		*h = append(*h, HostPath{DataPath: dataRoot + field, Path: *path})
	}
}

func (h *hostPaths) addSource(field string, source *v1alpha1.PathSource) {
	if source != nil {
		h.add(field+".path", &source.Path)
	}
}

// addVolume looks at every kind of source, even if more than one is given.
func (h *hostPaths) addVolume(field string, source *v1alpha1.VolumeSource) {
	if source == nil {
		return
	}
	h.addSource(field+".file", source.File)
	h.addSource(field+".block", source.Block)
	h.addSource(field+".directory", source.Directory)
	if n := source.Network; n != nil {
		for i := range n.Hosts {
			h.add(field+".network.hosts["+itoa(i)+"].socketPath", n.Hosts[i].SocketPath)
		}
		h.add(field+".network.configFile", n.ConfigFile)
	}
	h.addSource(field+".vhostUser", source.VhostUser)
	h.addSource(field+".vhostVDPA", source.VhostVDPA)
}
