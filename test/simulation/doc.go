// Package simulation runs the real managers and agents through worlds that a seed has made
// up, in a time of their own, and looks for the moment at which one of the project's
// promises is broken.
//
// Read it in this order:
//
//   - world_test.go: a world of nodes with scripted hypervisors, from its beginning to its
//     end. process_test.go has the managers and agents in it, gate_test.go what it is for one
//     to hang, conn_test.go how agents reach their libvirt, and pace_test.go how long
//     everything takes.
//   - api_test.go and wire_test.go: the API server, kept in memory, and how processes reach
//     it: late, with broken watches, or not at all. admission_test.go has what it refuses.
//   - acts_test.go: what users, administrators and fate do. plan_test.go has the plan that a
//     seed makes of it, scenes_test.go what takes several acts in a row, and backup_test.go a
//     job that is none of ours.
//   - observer_test.go: who knows everything, and says which promise was broken.
//     It calls for a promise or a few: effects_test.go judges what agents do to guests,
//     truth_test.go what final statuses say, limits_test.go how much goes on at once,
//     places_test.go what guests get of their targets and how they are sent, and
//     deadlines_test.go what has to be done by when. judge_test.go has what is judged when
//     nothing happens any more.
//   - shrink_test.go: what is left of a plan once all is gone that is not needed to break it.
//   - simulation_test.go: the test, and what it prints.
//
// Nothing in a world is at random but by its seed: how long each step takes follows from the
// seed, from who takes it, and from which step of theirs it is. Since no two steps take the
// same time, mostly one process acts at a time. What Go itself leaves open differs between
// two runs of a seed, such as the order in which a map is gone through, or which of several
// channels that are ready is read: but for `make test-simulation`, for which
// hack/simulation/overlay.sh changes Go's runtime. See repeatable_test.go.
package simulation
