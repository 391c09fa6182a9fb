package agent

import (
	"maps"
	"path"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// spacePool knows where the disks will be that are on their way here, and how much space they
// will take, so that no two migrations count on the same. Its zero value is ready.
type spacePool struct {
	mu sync.Mutex
	// promised is by migration.
	promised map[types.UID]migration.SpaceClaim
	// checked is how much of each image was promised at first, by migration and path. What comes
	// later is never more: it depends on what the source says, which was checked once.
	checked map[types.UID]map[string]int64
	// places are the paths of images, by migration.
	places map[types.UID][]string
}

// note takes in what an object says of the images of its attempt. They take less the more has
// been copied, as what was copied is not left in the directory either.
func (p *spacePool) note(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	toCome := migration.SpaceToCome(lm, section)
	if checked, known := p.checked[lm.UID]; known {
		for image := range toCome.Images {
			toCome.Images[image] = min(toCome.Images[image], checked[image])
		}
	} else {
		p.check(lm.UID, toCome)
	}
	p.set(lm.UID, toCome)
	p.occupy(lm.UID, migration.ImagesLeft(lm, section))
}

// check notes what is promised at first, with the lock held.
func (p *spacePool) check(uid types.UID, claim migration.SpaceClaim) {
	if len(claim.Images) == 0 {
		return
	}
	if p.checked == nil {
		p.checked = map[types.UID]map[string]int64{}
	}
	p.checked[uid] = maps.Clone(claim.Images)
}

// occupy notes which places a migration has, with the lock held. It has them for as long as it
// may take away again what is there.
func (p *spacePool) occupy(uid types.UID, paths []string) {
	if len(paths) == 0 {
		delete(p.places, uid)
		return
	}
	if p.places == nil {
		p.places = map[types.UID][]string{}
	}
	p.places[uid] = paths
}

// set is note with the lock held.
func (p *spacePool) set(uid types.UID, claim migration.SpaceClaim) {
	if len(claim.Images) == 0 {
		delete(p.promised, uid)
		return
	}
	if p.promised == nil {
		p.promised = map[types.UID]migration.SpaceClaim{}
	}
	p.promised[uid] = claim
}

// release gives back what was promised to a migration.
func (p *spacePool) release(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.promised, uid)
	delete(p.checked, uid)
	delete(p.places, uid)
}

// others returns the images for which space was promised to others than a migration, in their
// order: how much has been written to them has to be known before it is promised more.
func (p *spacePool) others(uid types.UID) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var images []string
	for other, claim := range p.promised {
		if other != uid {
			images = slices.AppendSeq(images, maps.Keys(claim.Images))
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// plan decides with what the others have been promised taken from what was seen to be left, and
// promises what was decided. Where the image of another is to be, there is one already:
// neither could tell it from its own. It reports false, and does nothing, if another has been
// promised space meanwhile in a directory that was not looked at.
func (p *spacePool) plan(lm *v1alpha1.LiveMigration, disks []v1alpha1.GuestDisk, places []migration.ImagePlace, seen *placesSeen,
	decide func([]migration.ImagePlace, *migration.Space) ([]v1alpha1.TargetImage, []v1alpha1.Blocker),
) (images []v1alpha1.TargetImage, blockers []v1alpha1.Blocker, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var others []migration.SpaceClaim
	for other, claim := range p.promised {
		if other == lm.UID {
			continue
		}
		for image := range claim.Images {
			if !seen.asked[path.Dir(image)] {
				return nil, nil, false
			}
		}
		others = append(others, claim)
	}
	for i := range places {
		places[i].Image.Exists = places[i].Image.Exists || p.isTaken(lm.UID, disks[i].Path)
	}
	images, blockers = decide(places, migration.NewSpace(seen.directories, others, seen.files))
	if len(blockers) == 0 && !migration.ChecksOnly(lm) {
		section := &v1alpha1.TargetStatus{Images: images}
		toCome := migration.SpaceToCome(lm, section)
		p.check(lm.UID, toCome)
		p.set(lm.UID, toCome)
		p.occupy(lm.UID, migration.ImagesLeft(lm, section))
	}
	return images, blockers, true
}

func (p *spacePool) isTaken(uid types.UID, file string) bool {
	for other, paths := range p.places {
		if other != uid && slices.Contains(paths, file) {
			return true
		}
	}
	return false
}
