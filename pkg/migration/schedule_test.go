package migration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// claim reads "guest source target stage", where the stage may be waiting, preparing,
// ready, granted, copying, stalled or ending; "dry-" before it makes it a dry run. It is created so many seconds after the epoch.
func claim(t *testing.T, text string, created int) *Claim {
	t.Helper()
	f := strings.Fields(text)
	if len(f) != 4 {
		t.Fatalf("the claim %q has not four words", text)
	}
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{
		Name: f[0], Namespace: "default", UID: types.UID(fmt.Sprintf("%s-%d", f[0], created)),
		CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(created) * time.Second)),
	}}
	stages := map[string]Stage{
		"waiting": StageWaiting, "preparing": StagePreparing, "ready": StagePreparing, "copying": StageCopying, "granted": StagePreparing, "stalled": StageCopying, "ending": StageEnding,
	}
	word, dry := strings.CutPrefix(f[3], "dry-")
	if dry {
		lm.Spec.DryRun = new(true)
	}
	stage, ok := stages[word]
	if !ok {
		t.Fatalf("%q is no stage", f[3])
	}
	c := &Claim{
		Object: lm, Stage: stage, Guest: f[0], Source: f[1], Target: f[2], Since: lm.CreationTimestamp.Time, Ready: word == "ready", Stalled: word == "stalled",
		Resolution: Resolution{SourceNode: f[1], TargetNode: f[2]},
	}
	if word == "granted" {
		c.Promise(true, "", f[1], f[2])
	}
	return c
}

// turnOf writes a turn in a word.
func turnOf(turn Turn) string {
	switch {
	case turn.Before != nil:
		return "after " + turn.Before.Name
	case turn.Admit && turn.Grant:
		return "admit+grant"
	case turn.Grant:
		return "grant"
	case turn.Admit && turn.WaitingFor != "":
		return fmt.Sprintf("admit %s/%d", turn.WaitingFor, turn.Position)
	case turn.Admit:
		return "admit"
	case turn.WaitingFor != "":
		return fmt.Sprintf("%s/%d", turn.WaitingFor, turn.Position)
	}
	return "-"
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		nodes  int
		after  time.Duration
		claims []string
		want   []string
	}{
		{name: "alone", claims: []string{"g1 a b waiting"}, want: []string{"admit+grant"}},
		{name: "from different nodes", claims: []string{"g1 a c waiting", "g2 b c waiting"}, want: []string{"admit+grant", "admit+grant"}},
		{name: "a node sends one and prepares two",
			claims: []string{"g1 a b waiting", "g2 a c waiting", "g3 a d waiting", "g4 a e waiting"},
			want:   []string{"admit+grant", "admit Source/1", "admit Source/2", "Source/3"}},
		{name: "a node receives two",
			claims: []string{"g1 a z copying", "g2 b z copying", "g3 c z waiting"},
			want:   []string{"-", "-", "admit Target/1"}},
		{name: "the cluster has its own limit", limits: Limits{Source: 9, Target: 9, Cluster: 1, Preparing: 9},
			claims: []string{"g1 a b copying", "g2 c d waiting", "g3 e f ready"},
			want:   []string{"-", "admit Cluster/1", "Cluster/2"}},
		{name: "in which one that is stalled does not count", limits: Limits{Source: 9, Target: 9, Cluster: 1, Preparing: 9},
			claims: []string{"g1 a b stalled", "g2 c d waiting", "g3 e f ready"},
			want:   []string{"-", "admit+grant", "Cluster/1"}},
		{name: "though it keeps its nodes' slots", limits: Limits{Source: 1, Target: 1, Cluster: 1, Preparing: 9},
			claims: []string{"g1 a b stalled", "g2 a d ready", "g3 e b ready"},
			want:   []string{"-", "Source/1", "Target/1"}},
		{name: "which is the number of nodes by default", nodes: 2,
			claims: []string{"g1 a b copying", "g2 c d copying", "g3 e f ready"},
			want:   []string{"-", "-", "Cluster/1"}},
		{name: "prepared ones copy before younger ones are let go ahead",
			claims: []string{"g1 a b ready", "g2 a c waiting"}, want: []string{"grant", "admit Source/1"}},
		{name: "one that is being prepared keeps its turn for a while", after: readyGrace - time.Second,
			claims: []string{"g1 a b preparing", "g2 a c waiting"}, want: []string{"-", "admit Source/1"}},
		{name: "one that does not get ready does not hold others up", after: readyGrace,
			claims: []string{"g1 a b preparing", "g2 a c waiting"}, want: []string{"-", "admit+grant"}},
		{name: "one whose job is over holds its guest alone",
			claims: []string{"g1 a b ending", "g1 b a waiting", "g2 a b waiting"}, want: []string{"-", "after g1", "admit+grant"}},
		{name: "of one guest, one after the other",
			claims: []string{"g1 a b waiting", "g1 a c waiting"}, want: []string{"admit+grant", "after g1"}},
		{name: "one that goes ahead goes before an older one",
			claims: []string{"g1 a b waiting", "g1 a c copying"}, want: []string{"after g1", "-"}},
		{name: "dry runs are checked while all slots are held", limits: Limits{Source: 1, Target: 1, Cluster: 1},
			claims: []string{"g1 a b copying", "g2 a b dry-waiting"}, want: []string{"-", "admit"}},
		{name: "and while others are prepared, for however long", after: 20 * time.Hour,
			claims: []string{"g1 a b copying", "g2 a c ready", "g3 a d ready", "g4 a e dry-waiting", "g4 a e waiting"},
			want:   []string{"-", "Source/1", "Source/2", "admit", "after g4"}},
		{name: "dry runs wait for dry runs",
			claims: []string{"g1 a b dry-waiting", "g2 a c dry-waiting", "g3 a d dry-waiting", "g4 e b dry-waiting", "g5 e f dry-waiting"},
			want:   []string{"admit", "Source/1", "Source/2", "Target/1", "admit"}},
		{name: "and do not hold their guests meanwhile",
			claims: []string{"g1 a b dry-ready", "g2 a c dry-waiting", "g2 a c waiting", "g2 a d dry-waiting"},
			want:   []string{"-", "Source/1", "admit+grant", "after g2"}},
		{name: "dry runs never copy, and take no slot from others", claims: []string{"g1 a b dry-ready", "g2 a c waiting", "g3 a b waiting", "g4 a b waiting", "g5 a b waiting"},
			want: []string{"-", "admit+grant", "admit Source/1", "admit Source/2", "Source/3"}},
		{name: "one that is promised its slot is prepared until that is written", limits: Limits{Source: 1, Target: 1, Preparing: 1},
			claims: []string{"g1 a b granted", "g2 c b waiting"},
			want:   []string{"-", "Target/1"}},
		{name: "a younger one takes what an older one cannot use", after: reserveAfter - time.Second,
			claims: []string{"g1 x b copying", "g2 y b copying", "g3 a b ready", "g4 a c ready"},
			want:   []string{"-", "-", "Target/1", "grant"}},
		{name: "but not for long", after: reserveAfter + 10*time.Second,
			claims: []string{"g1 x b copying", "g2 y b copying", "g3 a b ready", "g4 a c ready"},
			want:   []string{"-", "-", "Target/1", "Source/1"}},
		{name: "nothing is kept free for the second in the line", after: reserveAfter + 10*time.Second,
			claims: []string{"g1 x b copying", "g2 y b copying", "g3 z b ready", "g4 a b ready", "g5 a c ready"},
			want:   []string{"-", "-", "Target/1", "Target/2", "grant"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits, nodes := c.limits, c.nodes
			if limits == (Limits{}) {
				limits = DefaultLimits()
			}
			if nodes == 0 {
				nodes = 100
			}
			var claims []*Claim
			for i, text := range c.claims {
				claims = append(claims, claim(t, text, i/100))
			}
			var got []string
			for _, turn := range Schedule(claims, limits, nodes, epoch.Add(c.after)) {
				got = append(got, turnOf(turn))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestScheduleHeedsWhatHasNoTurn: what cannot go ahead takes no slot, but keeps later
// ones of its guest back.
func TestScheduleHeedsWhatHasNoTurn(t *testing.T) {
	lost, gone, there := claim(t, "g1 a b waiting", 0), claim(t, "g2 a b waiting", 0), claim(t, "g3 b b waiting", 0)
	lost.Resolution.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonDomainNotFound}
	gone.Gone = true
	there.Resolution.AlreadyOnTarget = true
	stopped := claim(t, "g6 a c ready", 0)
	stopped.Gone = true
	claims := []*Claim{lost, gone, there, stopped, claim(t, "g1 a c waiting", 1), claim(t, "g2 a c waiting", 1)}
	var got []string
	for _, turn := range Schedule(claims, DefaultLimits(), 9, epoch) {
		got = append(got, turnOf(turn))
	}
	if want := []string{"-", "-", "admit", "-", "after g1", "admit+grant"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOrderOfTurns(t *testing.T) {
	at := func(name string, created time.Duration, priority int32, version string) *v1alpha1.LiveMigration {
		lm := makeMigration(name).created(created).obj()
		lm.ResourceVersion = version
		if priority != 0 {
			lm.Spec.Priority = &priority
		}
		return lm
	}
	recorded := at("recorded", 0, 0, "900")
	recorded.Status.Queue = &v1alpha1.QueueStatus{Order: 15}
	want := []*v1alpha1.LiveMigration{
		at("urgent", time.Hour, 10, "60"),
		at("waiting for long", -11*time.Minute, 0, "70"),
		at("important", 0, 1, "50"),
		at("first", 0, 0, "9"), recorded, at("second", 0, 0, "20"),
		at("late", time.Second, 0, "30"),
		at("unimportant", 0, -1, "40"),
	}
	var got []*Claim
	for _, lm := range want {
		got = append(got, NewClaim(lm, epoch))
	}
	for range 20 {
		rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, compareTurn)
		for i := range want {
			if got[i].Object != want[i] {
				t.Fatalf("%s is at the place of %s", got[i].Object.Name, want[i].Name)
			}
		}
	}
}

func TestNewClaim(t *testing.T) {
	noGrant := func() builder {
		b := makeMigration("m").admitted()
		b.lm.Status.Attempt.CopyGrantedTime = nil
		return b
	}
	looks := makeMigration("m").admitted()
	looks.lm.Status.SourceNode = ""
	missing := makeMigration("m").started()
	missing.lm.Status.Attempt.SourceMissingTime = new(metav1.NewMicroTime(epoch))
	startedUngranted := makeMigration("m").started()
	startedUngranted.lm.Status.Attempt.CopyGrantedTime = nil
	lost := makeMigration("m").started().inPostCopy().onTarget("Shutoff/Crashed", false)
	lost.lm.Status.Target.LostTime = new(metav1.NewMicroTime(epoch))
	interrupted := makeMigration("m").started().inPostCopy().onTarget("Paused/PostcopyFailed", false)
	interrupted.lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: metav1.NewMicroTime(epoch)}
	resumed := makeMigration("m").started().inPostCopy().onTarget("Paused/Postcopy", false)
	resumed.lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{
		BrokenTime: metav1.NewMicroTime(epoch), ResumedTime: new(metav1.NewMicroTime(epoch.Add(time.Hour))),
	}
	for _, c := range []struct {
		name                 string
		b                    builder
		after                time.Duration
		stage                Stage
		ready, gone, stalled bool
	}{
		{name: "new", b: makeMigration("m"), stage: StageWaiting},
		{name: "new, deleted", b: makeMigration("m").deleted(), stage: StageWaiting, gone: true},
		{name: "admitted", b: noGrant(), stage: StagePreparing},
		{name: "prepared", b: noGrant().checked().ready(), stage: StagePreparing, ready: true},
		{name: "granted", b: makeMigration("m").admitted(), stage: StageCopying},
		{name: "started", b: makeMigration("m").started(), stage: StageCopying, ready: true},
		{name: "started, though it was not its turn, or nobody knows any more", b: startedUngranted, stage: StageCopying, ready: true},
		{name: "started, deleted", b: makeMigration("m").started().deleted(), stage: StageCopying, ready: true},
		{name: "over on the source", b: makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent"), stage: StageEnding, ready: true},
		{name: "in post-copy", b: makeMigration("m").started().inPostCopy().onTarget("Paused/Postcopy", false), stage: StageCopying, ready: true},
		{name: "interrupted in post-copy", b: interrupted, after: stalledAfter - 1, stage: StageCopying, ready: true},
		{name: "interrupted for long", b: interrupted, after: stalledAfter, stage: StageCopying, ready: true, stalled: true},
		{name: "interrupted for long, and resumed", b: resumed, after: 2 * time.Hour, stage: StageCopying, ready: true},
		{name: "lost in post-copy", b: lost, stage: StageEnding, ready: true},
		{name: "looks whether the guest is there", b: looks, stage: StageEnding},
		{name: "the source's Hypervisor is missing", b: missing, after: ConfirmTimeout - 1, stage: StageCopying, ready: true},
		{name: "the source's Hypervisor was removed", b: missing, after: ConfirmTimeout, stage: StageEnding, ready: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := NewClaim(c.b.obj(), epoch.Add(c.after))
			if got.Stage != c.stage || got.Ready != c.ready || got.Gone != c.gone || got.Stalled != c.stalled {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestShownPosition(t *testing.T) {
	for position, want := range map[int32]int32{0: 0, 1: 1, 5: 5, 6: 10, 10: 10, 11: 20, 20: 20, 21: 50, 51: 100, 4321: 5000, 9999: 10000} {
		if got := ShownPosition(position); got != want {
			t.Errorf("ShownPosition(%d) = %d, want %d", position, got, want)
		}
	}
}

// TestScheduleKeepsItsLimits plays random traffic and sees that no limit is exceeded,
// that no two of one guest go on at once, and that everybody's turn comes.
func TestScheduleKeepsItsLimits(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		limits := Limits{Source: 1 + random.IntN(2), Target: 1 + random.IntN(2), Cluster: 1 + random.IntN(4), Preparing: 1 + random.IntN(2)}
		var all []*Claim
		for i := range 60 {
			c := claim(t, fmt.Sprintf("g%d n%d m%d waiting", random.IntN(40), random.IntN(4), random.IntN(4)), i)
			c.Object.Spec.Priority = new(int32(random.IntN(3)))
			all = append(all, c)
		}
		for now, steps := epoch.Add(time.Minute), 0; len(all) > 0; now, steps = now.Add(time.Second), steps+1 {
			if steps > 5000 {
				t.Fatalf("seed %d: %d have never got a turn", seed, len(all))
			}
			for i, turn := range Schedule(all, limits, 4, now) {
				switch c := all[i]; {
				case turn.Grant:
					c.Stage, c.Since = StageCopying, now
				case turn.Admit:
					c.Stage, c.Since = StagePreparing, now
				case c.Stage == StagePreparing && random.IntN(3) == 0:
					c.Ready = true
				}
			}
			requireLimits(t, all, limits)
			all = slices.DeleteFunc(all, func(c *Claim) bool { return c.Stage == StageCopying && random.IntN(5) == 0 })
		}
	}
}

func requireLimits(t *testing.T, claims []*Claim, limits Limits) {
	t.Helper()
	guests, copying, prepared := map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range claims {
		if c.Stage != StageWaiting {
			guests[c.Guest]++
		}
		in := map[Stage]map[string]int{StageCopying: copying, StagePreparing: prepared}[c.Stage]
		if in != nil {
			in["out "+c.Source]++
			in["in "+c.Target]++
			in["all"]++
		}
	}
	for what, n := range copying {
		limit := limits.Cluster
		switch what[:2] {
		case "ou":
			limit = limits.Source
		case "in":
			limit = limits.Target
		}
		if n > limit {
			t.Fatalf("%d copy: %s, with limits %+v", n, what, limits)
		}
	}
	for what, n := range prepared {
		if what != "all" && n > limits.Preparing {
			t.Fatalf("%d are prepared: %s, with limits %+v", n, what, limits)
		}
	}
	for guest, n := range guests {
		if n > 1 {
			t.Fatalf("%d migrations of %s go on", n, guest)
		}
	}
}

// TestNobodyStarves: the oldest migration goes from node-a to node-b. Newer ones, of which
// there are always more, go from node-a to node-c and from node-d to node-b, and each takes
// half an hour, so that the two slots never come free at once.
func TestNobodyStarves(t *testing.T) {
	const long = 30 * time.Minute
	limits := Limits{Source: 1, Target: 1, Cluster: 9}
	begin := time.Now()
	n := 0
	make1 := func(name, source, target string, created time.Time) *Claim {
		n++
		lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(strconv.Itoa(n)), CreationTimestamp: metav1.NewTime(created)}}
		lm.Spec = v1alpha1.LiveMigrationSpec{Domain: strconv.Itoa(n), TargetNode: target}
		c := NewClaim(lm, created)
		c.Resolve(Resolution{DomainUUID: strconv.Itoa(n), SourceNode: source, TargetNode: target})
		return c
	}
	ends := map[*Claim]time.Time{}
	first := func(name, source, target string, end time.Time) *Claim {
		c := make1(name, source, target, begin.Add(-time.Hour))
		c.Stage, ends[c] = StageCopying, end
		return c
	}
	oldest := make1("oldest", "node-a", "node-b", begin.Add(5*time.Minute))
	claims := []*Claim{first("ac", "node-a", "node-c", begin.Add(20*time.Minute)), first("db", "node-d", "node-b", begin.Add(30*time.Minute)), oldest}
	for now := begin.Add(5 * time.Minute); now.Before(begin.Add(7 * 24 * time.Hour)); now = now.Add(10 * time.Second) {
		var left []*Claim
		waiting := map[string]int{}
		for _, c := range claims {
			if end, ok := ends[c]; ok && !now.Before(end) {
				delete(ends, c)
				continue
			}
			if c.Stage == StageWaiting {
				waiting[c.Source]++
			}
			left = append(left, c)
		}
		for claims = left; waiting["node-a"] < 3; waiting["node-a"]++ {
			claims = append(claims, make1("ac", "node-a", "node-c", now))
		}
		for ; waiting["node-d"] < 3; waiting["node-d"]++ {
			claims = append(claims, make1("db", "node-d", "node-b", now))
		}
		turns := Schedule(claims, limits, 4, now)
		for i, c := range claims {
			if c.Stage == StageWaiting && turns[i].Grant {
				if c == oldest {
					t.Logf("it is its turn after %s", now.Sub(begin))
					return
				}
				c.Stage, ends[c] = StageCopying, now.Add(long)
			}
		}
	}
	t.Errorf("after a week, and %d others, the oldest migration still waits", n)
}

// TestSlotsOfTheClusterAreNotKeptFreeBesideThoseThatComeFree: five nodes of ten send guests,
// which takes long, and on each of them one more waits. When the slot comes free for which it
// waits, so does one of the cluster's. The other five nodes have nothing to do, and nothing
// that moves between them takes what anybody waits for.
func TestSlotsOfTheClusterAreNotKeptFreeBesideThoseThatComeFree(t *testing.T) {
	var claims []*Claim
	for i := range 5 {
		claims = append(claims, claim(t, fmt.Sprintf("long%d s%d t%d copying", i, i, i), 0), claim(t, fmt.Sprintf("next%d s%d t%d ready", i, i, i), 1))
	}
	claims = append(claims, claim(t, "idle u1 u2 waiting", 2))
	for after := range 24 * 60 {
		turns := Schedule(claims, DefaultLimits(), 10, epoch.Add(time.Duration(after)*time.Minute))
		if got := turnOf(turns[10]); got != "admit+grant" {
			t.Fatalf("5 of 10 slots are used, its nodes have nothing to do, and after %d minutes its turn is %q", after, got)
		}
	}
}

// TestASlotOfTheClusterGoesToTheOldest, although none is kept free: whoever waits for a node's
// slot gets one of the cluster's with that, before all that are younger.
func TestASlotOfTheClusterGoesToTheOldest(t *testing.T) {
	limits := Limits{Source: 1, Target: 2, Cluster: 2, Preparing: 2}
	claims := []*Claim{
		claim(t, "g1 a b copying", 0), claim(t, "g2 c d copying", 0), claim(t, "g3 a e ready", 1),
		claim(t, "g4 f g ready", 2), claim(t, "g5 h i ready", 3),
	}
	now := epoch.Add(reserveAfter + 10*time.Second)
	var got []string
	for _, turns := range [][]Turn{Schedule(claims, limits, 10, now), Schedule(claims[1:], limits, 10, now)} {
		for _, turn := range turns {
			got = append(got, turnOf(turn))
		}
	}
	if want := []string{"-", "-", "Source/1", "Cluster/1", "Cluster/2", "-", "grant", "Cluster/1", "Cluster/2"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestKeepsFree: slots are kept free for one that waits and given to others by turns, which
// come to be as long as any migration.
func TestKeepsFree(t *testing.T) {
	for minutes, want := range map[int]bool{
		0: false, 1: false, 2: true, 9: true, 10: false, 19: false, 20: true, 39: true, 40: false, 79: false, 80: true, 159: true, 160: false, 320: true,
	} {
		if got := keepsFree(time.Duration(minutes) * time.Minute); got != want {
			t.Errorf("after %d minutes it is %t", minutes, got)
		}
	}
}

// TestAKeptSlotIsNotSaidToBeHeld by a migration that does not hold it.
func TestAKeptSlotIsNotSaidToBeHeld(t *testing.T) {
	claims := []*Claim{claim(t, "g1 x b copying", 0), claim(t, "g2 y b copying", 0), claim(t, "g3 a b ready", 0), claim(t, "g4 a c ready", 0)}
	turns := Schedule(claims, DefaultLimits(), 100, epoch.Add(reserveAfter+10*time.Second))
	if turns[2].KeptFree || !turns[3].KeptFree {
		t.Errorf("the turns are %+v", turns)
	}
	s := &summarizer{ManagerFacts: ManagerFacts{Turn: turns[3]}, lm: claims[3].Object}
	if got := s.waitingForSlot(); got != "waiting for a slot: the next one is kept free for a migration that has waited longer; this migration is next" {
		t.Errorf("it is said: %s", got)
	}
}

// TestADryRunSaysWhatItWaitsFor: of which kind the dry run is, and on which node.
func TestADryRunSaysWhatItWaitsFor(t *testing.T) {
	claims := []*Claim{claim(t, "g1 a b dry-ready", 0), claim(t, "g2 a c dry-waiting", 1), claim(t, "g3 d b dry-waiting", 2), claim(t, "g4 a b dry-waiting", 3)}
	turns := Schedule(claims, DefaultLimits(), 9, epoch)
	for i, want := range map[int]string{
		1: "waiting for another dry run of a guest on a; this migration is next",
		2: "waiting for another dry run of a guest for b; this migration is next",
		3: "waiting for another dry run of a guest on a; 1 is ahead of it",
	} {
		s := &summarizer{ManagerFacts: ManagerFacts{Turn: turns[i]}, lm: claims[i].Object}
		if got := s.waitingForSlot(); got != want {
			t.Errorf("it is said: %s", got)
		}
	}
}
