package agent

import (
	"context"
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// measureLoad measures what there is to be copied of the guest, for a forecast. What cannot
// be measured is left out: nothing depends on it.
func (s *sourceSession) measureLoad(ctx context.Context, section *v1alpha1.SourceStatus) *v1alpha1.GuestLoad {
	uuid := s.lm.Status.DomainUUID
	domain, err := s.hv.LookupDomain(ctx, uuid)
	if err != nil {
		s.log.Error(err, "Reading the guest's memory for the forecast failed")
		return nil
	}
	load := &v1alpha1.GuestLoad{MemoryBytes: bytesOf(domain.MemoryBytes), DiskBytes: copiedBytes(section)}
	rate, err := s.hv.DirtyRate(ctx, uuid)
	if err != nil {
		s.log.Error(err, "Measuring for the forecast how fast the guest writes to its memory failed")
		return load
	}
	load.DirtyBytesPerSecond = new(bytesOf(rate))
	return load
}

// copiedBytes is what the images of those disks occupy that a migration copies.
func copiedBytes(section *v1alpha1.SourceStatus) int64 {
	if section.Storage == nil || section.Guest == nil {
		return 0
	}
	var sum uint64
	for _, d := range section.Guest.Disks {
		if slices.ContainsFunc(section.Storage.Images, func(i v1alpha1.SourceImage) bool { return i.Name == d.Name }) {
			sum += uint64(max(d.AllocatedBytes, 0))
		}
	}
	return bytesOf(sum)
}
