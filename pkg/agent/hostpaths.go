package agent

import (
	"path"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// checkPaths refuses migrate data that would have a guest open what the node
// does not allow: whoever writes a LiveMigration must not get at the host's
// files and devices by it.
func (c ReceiveConfig) checkPaths(node string, data *v1alpha1.MigrateData) error {
	var problems []error
	for _, p := range xmlrewrite.HostPaths(data) {
		switch {
		case !path.IsAbs(p.Path), path.Clean(p.Path) != p.Path:
			problems = append(problems, refuse(v1alpha1.ReasonInvalidMigrateData, v1alpha1.BlockerPathMalformed,
				"%s: %q must be an absolute path without surplus slashes, . or .. in it. Create another LiveMigration with such a path", p.DataPath, p.Path))
		case !c.allowsPath(p.Path) && c.allowsPath(p.Path+"/"):
			// What is there belongs to all guests.
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPathNotAllowed,
				"%s: %s allows guests to use what is below %q, but not the directory itself. Create another LiveMigration with a path below it; "+
					"in pathMappings, map what is in it, each by an entry of its own", p.DataPath, node, p.Path))
		case !c.allowsPath(p.Path):
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPathNotAllowed,
				"%s: %s does not allow guests to use %q, only what is below %s. Create another LiveMigration with a path there, or after "+
					"asking an administrator to extend the agent's --allowed-paths", p.DataPath, node, p.Path, strings.Join(c.AllowedPaths, ", ")))
		}
	}
	return allOf(problems)
}

// mayBeRun reports whether libvirt may be asked about an emulator, which it runs to learn
// what it can do: its own choice, one of those that it has found itself, or what guests may
// use here. The path comes from another node.
func (c ReceiveConfig) mayBeRun(program string, host hypervisor.HostInfo) bool {
	return program == "" || strings.Contains(host.Capabilities, "<emulator>"+program+"</emulator>") ||
		path.Clean(program) == program && c.allowsPath(program)
}

func (c ReceiveConfig) allowsPath(p string) bool {
	for _, allowed := range c.AllowedPaths {
		if strings.HasPrefix(p, strings.TrimSuffix(allowed, "/")+"/") {
			return true
		}
	}
	return false
}
