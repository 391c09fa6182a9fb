package agent

import (
	"context"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// How often the hypervisor is asked where no event tells.
const (
	// followInterval is the time between two looks at a running job.
	followInterval = 500 * time.Millisecond
	// retryInterval is the time until a hypervisor that could not be asked is
	// asked again.
	retryInterval = 250 * time.Millisecond
)

// sighting is what the hypervisor said of a guest at one moment.
type sighting struct {
	// seen is false if the hypervisor could not be asked, and jobSeen if it could not be
	// asked about the job.
	seen, jobSeen bool
	domain        *hypervisor.Domain
	job           hypervisor.JobStats
	// foreign is whether the job is a migration that somebody else has started.
	foreign bool
}

// ours reports whether our migration was seen to run.
func (s sighting) ours() bool { return s.job.MigratingOut() && !s.foreign }

// look reads the guest and its job. The job is read first: if it has ended, the
// domain's state is that from after its end.
func look(ctx context.Context, hv hypervisor.Hypervisor, uuid string) sighting {
	job, jobErr := hv.JobStats(ctx, uuid)
	domain, err := hv.LookupDomain(ctx, uuid)
	switch {
	case hypervisor.IsNoDomain(err):
		return sighting{seen: true, jobSeen: true}
	case err != nil:
		return sighting{}
	case jobErr != nil && !hypervisor.IsNoDomain(jobErr) && !domain.InPostCopy():
		// In post-copy the emulator may be too busy to be asked; the state says
		// enough.
		return sighting{}
	}
	return sighting{seen: true, jobSeen: jobErr == nil, domain: &domain, job: job}
}
