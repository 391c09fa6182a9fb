package agent

import (
	"context"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// knobs are the options that may be changed while a migration runs, as they
// were last applied. Zero is the hypervisor's default.
type knobs struct {
	bandwidthMiBps uint64
}

func newKnobs(p hypervisor.MigrateParams) knobs {
	return knobs{bandwidthMiBps: p.BandwidthMiBps}
}

// turn applies what the user has changed. What fails is tried again with the
// next look at the job. An agent that has adopted the job does not know what
// was applied and applies all that is given.
func (k *knobs) turn(ctx context.Context, s *sourceSession) {
	o := s.lm.Spec.Options
	if o == nil {
		return
	}
	uuid := s.lm.Status.DomainUUID
	apply(s, o.BandwidthMiBps, &k.bandwidthMiBps, "bandwidthMiBps", func(v uint64) error {
		return s.hv.SetBandwidth(ctx, uuid, v)
	})
}

func apply(s *sourceSession, wanted *int64, applied *uint64, name string, set func(uint64) error) {
	if wanted == nil || uint64(*wanted) == *applied { //nolint:gosec // Positive by validation.
		return
	}
	value := uint64(*wanted) //nolint:gosec // Positive by validation.
	if err := set(value); err != nil {
		s.log.Error(err, "Applying an option failed; trying again at the next poll", "option", name)
		return
	}
	s.log.Info("Applied an option to the running migration", "option", name, "value", value)
	*applied = value
}
