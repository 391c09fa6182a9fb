package xmlrewrite

import (
	"slices"
	"strings"
)

// ProblemKind says what sort of problem it is.
type ProblemKind string

const (
	// ProblemInvalidXML: the guest's XML cannot be read, or lacks what every
	// guest has.
	ProblemInvalidXML ProblemKind = "InvalidXML"
	// ProblemInvalidValue: a value of the migrate data is malformed.
	ProblemInvalidValue ProblemKind = "InvalidValue"
	// ProblemMissingData: the guest has something bound to its host, and
	// nothing says what it is to become on the target.
	ProblemMissingData ProblemKind = "MissingData"
	// ProblemNotFound: an entry of the migrate data names something that the
	// guest does not have.
	ProblemNotFound ProblemKind = "NotFound"
	// ProblemAmbiguous: an entry fits several devices, or several entries fit
	// one device.
	ProblemAmbiguous ProblemKind = "Ambiguous"
	// ProblemConflict: parts of the migrate data contradict each other, the
	// guest or the target host.
	ProblemConflict ProblemKind = "Conflict"
	// ProblemABIChanged: the rewrite would have changed what the guest sees.
	ProblemABIChanged ProblemKind = "ABIChanged"
	// ProblemKeptAsIs is used for warnings: something host-bound was left
	// alone because it may well work on the target too.
	ProblemKeptAsIs ProblemKind = "KeptAsIs"
)

// Problem is one thing that is wrong.
type Problem struct {
	Kind ProblemKind
	// DataPath is the place in the LiveMigration, such as
	// spec.migrateData.volumes[0].source; it is empty if the problem is not
	// about the migrate data.
	DataPath string
	// XMLPath is the place in the guest's XML in XPath notation, such as
	// /domain/devices/disk[2]; it is empty if there is none.
	XMLPath string
	// Message says what is wrong and what to do about it.
	Message string
}

// String returns the problem as one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.DataPath != "" {
		b.WriteString(p.DataPath + ": ")
	}
	b.WriteString(p.Message)
	if p.XMLPath != "" {
		b.WriteString(" (" + p.XMLPath + ")")
	}
	return b.String()
}

// Problems is everything that is wrong, in the order of the rewriting steps.
type Problems []Problem //nolint:errname // It is a list of problems, of which being an error is only one use.

// about reports whether there is a problem with a field of the migrate data.
func (p Problems) about(field string) bool {
	field = "spec.migrateData." + field
	return slices.ContainsFunc(p, func(one Problem) bool {
		rest, is := strings.CutPrefix(one.DataPath, field)
		return is && (rest == "" || rest[0] == '[' || rest[0] == '.')
	})
}

// Error returns one line per problem. It never holds text of the guest's XML.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, problem := range p {
		lines = append(lines, problem.String())
	}
	return strings.Join(lines, "\n")
}
