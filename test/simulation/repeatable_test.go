//go:build repeatable

package simulation

import _ "unsafe" // For linkname.

// repeatable is where the sequence stands of which Go's runtime takes what it leaves to
// chance, in the runtime that hack/simulation/overlay.sh makes.
//
//go:linkname repeatable runtime.repeatable
var repeatable uint64
