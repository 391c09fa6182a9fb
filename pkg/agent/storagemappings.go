package agent

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// How an administrator's word on where storage is found gets into a guest's definition. The
// source's agent applies it, since it says where the disks are to be before the target looks.

// storageMappings are those that hold for the attempt.
func (s *sourceSession) storageMappings() []v1alpha1.StorageMapping {
	if s.lm.Status.Attempt == nil {
		return nil
	}
	return s.lm.Status.Attempt.StorageMappings
}

// usedStorageMappings are those of the attempt's that give a disk of the guest another place. Those
// by which two things would become one are refused. What libvirt has found in images counts where
// the target makes others that are based on the same.
func (s *sourceSession) usedStorageMappings(definitions []hypervisor.DomainXML, running hypervisor.DomainXML) ([]v1alpha1.StorageMapping, error) {
	if len(s.storageMappings()) == 0 {
		return nil, nil
	}
	if o := migration.StorageCopy(s.lm); o != nil && o.Mode == v1alpha1.StorageCopyIncremental {
		definitions = append(slices.Clone(definitions), running)
	}
	used, meet, err := xmlrewrite.UsedStorage(definitions, s.lm.Spec.MigrateData, s.storageMappings())
	switch {
	case err != nil:
		return nil, s.unreadable(err)
	case len(meet) > 0:
		return nil, doesNotFit(meet)
	}
	return used, nil
}

// checkStorageMappings refuses mappings that lead where guests may have nothing here, or to a
// pool that cannot be used. They are an administrator's; but the list comes from another node.
func (s *targetSession) checkStorageMappings(ctx context.Context, mappings []v1alpha1.StorageMapping) error {
	var problems []error
	var pools []v1alpha1.StorageMapping
	for _, m := range mappings {
		switch {
		case m.Kind == v1alpha1.StorageKindPool:
			pools = append(pools, m)
		case !path.IsAbs(m.To), path.Clean(m.To) != m.To, !s.node.Receive.allowsPath(m.To + "/"):
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPathNotAllowed,
				"%s does not allow guests to use %q, where the spec of its Hypervisor has what is in %q on other hosts, only what is below %s. Ask an administrator to extend the agent's --allowed-paths or to correct spec.storageMappings, and then create another LiveMigration",
				s.node.Name, m.To, m.From, strings.Join(s.node.Receive.AllowedPaths, ", ")))
		}
	}
	if len(pools) == 0 {
		return allOf(problems)
	}
	facts, err := s.hv.HostFacts(ctx, hypervisor.FactsStoragePools)
	if err != nil {
		return fmt.Errorf("reading the storage pools of the host: %w", err)
	}
	if facts.StoragePools != nil {
		problems = append(problems, checkPools(s.node.Name, pools, facts.StoragePools)...)
	}
	return allOf(problems)
}

// checkPools refuses pools that are not there, or not started.
func checkPools(node string, mappings []v1alpha1.StorageMapping, have []hypervisor.StoragePool) []error {
	var problems []error
	for _, m := range mappings {
		at := slices.IndexFunc(have, func(p hypervisor.StoragePool) bool { return p.Name == m.To })
		switch {
		case at < 0:
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerStoragePoolMissing,
				"libvirt on %s has no storage pool %q%s. Ask an administrator to define it there or to correct spec.storageMappings of the Hypervisor %[1]s, and then create another LiveMigration",
				node, m.To, mapped(m.From, m.To)))
		case have[at].State != hypervisor.PoolRunning && have[at].State != hypervisor.PoolDegraded:
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerStoragePoolInactive,
				"The storage pool %q on %s%s is not started. Ask an administrator to start it there with `virsh pool-start`, and then create another LiveMigration",
				m.To, node, mapped(m.From, m.To)))
		}
	}
	return problems
}
