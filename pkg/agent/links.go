package agent

import (
	"context"
	"path"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// Where symbolic links of the host lead, as far as the agent sees them. libvirt follows them, and
// so does the guest's emulator.

// leadsOut returns where paths lead that are below what the node allows, but in directories that are
// links to what it does not allow, by path. Of what the agent does not see, nothing is known.
// libvirt follows the path once more, so that a link which is made in between is followed;
// only root can make one there.
func (n *Node) leadsOut(ctx context.Context, paths []string) map[string]string {
	host, allowed := n.Files.Host, n.Receive
	if host == nil || len(paths) == 0 {
		return nil
	}
	out, ok := readHost(ctx, n, func() map[string]string {
		really := allowed
		really.AllowedPaths = nil
		for _, dir := range allowed.AllowedPaths {
			really.AllowedPaths = append(really.AllowedPaths, dir, hostfiles.Follow(host, dir))
		}
		out := map[string]string{}
		for _, p := range paths {
			// The last part may well be a link: all that is in /dev/mapper is.
			if to := path.Join(hostfiles.Follow(host, path.Dir(p)), path.Base(p)); allowed.allowsPath(p) && !really.allowsPath(to) {
				out[p] = to
			}
		}
		return out
	})
	if !ok {
		return nil
	}
	return out
}

// checkLinks refuses migrate data whose paths lead where the node does not allow guests anything.
func (s *targetSession) checkLinks(ctx context.Context) error {
	named := xmlrewrite.HostPaths(s.lm.Spec.MigrateData)
	paths := make([]string, len(named))
	for i, p := range named {
		paths[i] = p.Path
	}
	out := s.node.leadsOut(ctx, paths)
	var problems []error
	for _, p := range named {
		if to := out[p.Path]; to != "" {
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPathNotAllowed,
				"%s: on %s, %q leads to %q by a symbolic link, which guests may not use there. Create another LiveMigration with another path, or after asking an administrator to remove the link or to extend the agent's --allowed-paths",
				p.DataPath, s.node.Name, p.Path, to))
		}
	}
	return allOf(problems)
}
