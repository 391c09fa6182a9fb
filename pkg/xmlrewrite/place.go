package xmlrewrite

// place is a place in the migrate data, such as volumes[0].source. It becomes
// text in reports only, so it costs next to nothing where all is well.
type place struct {
	in    *place
	name  string // Empty for an entry of a list.
	index int    // Of the entry.
}

// placeOf returns the place of this name.
func placeOf(name string) *place { return &place{name: name} }

// dot returns a place in this one.
func (f *place) dot(name string) *place { return &place{in: f, name: name} }

// entry returns an entry of the list that is at this place.
func (f *place) entry(i int) *place { return &place{in: f, index: i} }

// String returns the whole path; nil has none.
func (f *place) String() string {
	path := ""
	for ; f != nil; f = f.in {
		switch {
		case f.name == "":
			path = "[" + itoa(f.index) + "]" + path
		case f.in == nil:
			path = f.name + path
		default:
			path = "." + f.name + path
		}
	}
	return path
}
