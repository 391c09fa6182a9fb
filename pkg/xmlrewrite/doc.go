// Package xmlrewrite turns the XML of a guest on its source host and the
// migrate data of a LiveMigration into the XML for the target host.
//
// It is pure: bytes and migrate data in, bytes or problems out. It does no
// I/O, keeps no state and does not log.
//
// # Plan, then apply
//
// [NewPlan] checks the whole migrate data against the whole XML. Its answer is
// either a [Plan] or [Problems]: everything that is wrong, at once, each with
// the place in the migrate data, the place in the XML and a remedy. By then
// the rewrite has been tried, and its guest-visible side compared with the
// original, so [Plan.Apply] has nothing left that could fail.
//
// Planning is a list of pure steps, most with a file of their own. Each looks at the original document only
// and records edits beside it; no step sees the work of another, but for the last,
// which judges what is kept. Maps that swap or chain devices therefore come out
// right.
//
// # Absent is not empty
//
// A part of the migrate data that is absent (nil) is filled from
// [Options.Offer], what the target's agent offers from its host, and failing
// that the guest's XML stays as it is if it can work on another host, or is
// refused if it cannot. A part that is present but empty says that there is
// none of it.
//
// # What does not change
//
// Everything without an edit is copied byte for byte: unknown elements and
// attributes, foreign namespaces, metadata, comments, quotes, white space and
// order. Where text has to be inserted it follows the indentation around it.
// Rewriting the result again gives the same bytes, with the guest's other definition
// as it has been rewritten, too. Maps that swap things are the exception: after a
// swap of devices, of ports or of the numbers of caches and nodes the guest looks as
// it did before, and rewriting the result swaps them back.
//
// # Secrets
//
// A guest's XML holds console passwords. No problem, warning or error of this
// package quotes it: paths name elements, and values are quoted only from the
// migrate data or after they were parsed into something harmless, such as a
// MAC address.
package xmlrewrite
