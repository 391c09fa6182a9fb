package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/versions"
)

// What ties a guest to its host, or keeps it busy there.

// checkTies refuses a guest that something keeps from moving, or of which libvirt keeps what
// would stay behind.
func (s *sourceSession) checkTies(ctx context.Context) error {
	ties, err := s.hv.Ties(ctx, s.lm.Status.DomainUUID)
	if err != nil {
		return fmt.Errorf("reading what ties the guest to its host: %w", err)
	}
	var problems []error
	if ties.Snapshots > 0 {
		problems = append(problems, refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerSnapshotsKept,
			"libvirt on %s keeps snapshots of the guest %s (%d), which cannot move with it. Ask an administrator to remove them with `virsh snapshot-delete`, and then create another LiveMigration", s.node.Name, s.lm.Spec.Domain, ties.Snapshots))
	}
	if ties.Checkpoints > 0 {
		problems = append(problems, refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerCheckpointsKept,
			"libvirt on %s keeps checkpoints of the guest %s (%d), which would be lost, and with them the next incremental backup. Ask an administrator to remove them with `virsh checkpoint-delete`, and then create another LiveMigration", s.node.Name, s.lm.Spec.Domain, ties.Checkpoints))
	}
	if len(ties.BlockJobs) > 0 {
		problems = append(problems, s.blockJobs(ctx, ties.BlockJobs))
	}
	return allOf(problems)
}

// blockJobs refuses a guest for what its disks are busy with. That may be a job of all of it,
// such as a backup.
func (s *sourceSession) blockJobs(ctx context.Context, disks []string) error {
	switch job, err := s.hv.JobStats(ctx, s.lm.Status.DomainUUID); {
	case err != nil:
		return fmt.Errorf("reading the guest's job: %w", err)
	case job.Active():
		return s.jobRunning(job)
	}
	return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerJobRunning,
		"libvirt on %s copies or merges images of these disks of the guest %s, which cannot move meanwhile: %s. Wait until that has ended, or ask an administrator to end it with `virsh blockjob`, and then create another LiveMigration%s",
		s.node.Name, s.lm.Spec.Domain, strings.Join(disks, ", "), s.endedJobs(ctx))
}

// endedJobs says whether libvirt may show jobs of disks that are over.
func (s *sourceSession) endedJobs(ctx context.Context) string {
	host, err := s.hv.HostInfo(ctx)
	if err != nil {
		return "" // Nobody knows.
	}
	source := versions.Host{Node: s.node.Name, Libvirt: host.LibvirtVersion, QEMU: host.HypervisorVersion}
	for _, f := range foundFaults(s.lm, source, versions.Host{}, versions.UseBlockJobs) {
		if f.ID == string(v1alpha1.FaultBlockJobsNotEnded) {
			return ". " + f.Advice()
		}
	}
	return ""
}

// jobRunning refuses a guest for a job of its own.
func (s *sourceSession) jobRunning(job hypervisor.JobStats) error {
	return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerJobRunning,
		"Another libvirt job is running for the guest %[2]s (%[1]s). Wait until it has ended, and then create another LiveMigration", job.Operation, s.lm.Spec.Domain)
}
